//go:build !linux

package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

var errLinux = fmt.Errorf("images of Linux are unpacked on Linux only: %w", errors.ErrUnsupported)

// A Tree is a directory that layers are unpacked into; here there is none.
type Tree struct{}

// New says that this system cannot hold what images are made of.
func New(*os.File, Options) (*Tree, error) { return nil, errLinux }

// Enter is never called.
func (*Tree) Enter(*os.File) error { return errLinux }

// Trash is never called.
func (*Tree) Trash() string { return "" }

// Apply is never called.
func (*Tree) Apply(context.Context, *os.File) error { return errLinux }

// Stream is never called.
func (*Tree) Stream(context.Context, io.Reader) error { return errLinux }

// Implied is never called.
func (*Tree) Implied() []string { return nil }

// Open is never called.
func (*Tree) Open(string) (*os.File, error) { return nil, errLinux }

// Finish is never called.
func (*Tree) Finish() (*LeftOut, error) { return nil, errLinux }

// Hidden is zero.
func (*Tree) Hidden() Hidden { return Hidden{} }

// Close is never called.
func (*Tree) Close() error { return nil }

// RemoveAll removes a name in an open directory, and all below it.
func RemoveAll(dir *os.File, name string) error { return os.RemoveAll(filepath.Join(dir.Name(), name)) }

// Inherit says that this system cannot hold what images are made of.
func Inherit(*os.File, []string, []*os.File) error { return errLinux }
