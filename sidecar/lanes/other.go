//go:build !linux

package lanes

import (
	"errors"
	"io/fs"
	"net"
	"os"
)

// Docker and containerd keep their files on Linux.

func peerOf(*net.UnixConn) (peer, error) { return peer{}, errors.ErrUnsupported }

func openBeneath(string, ...string) (*os.File, error) { return nil, errors.ErrUnsupported }

func writable(fs.FileInfo, peer) string { return "" }

func memoryFile() (*os.File, error) { return nil, errors.ErrUnsupported }

func duplicate(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
