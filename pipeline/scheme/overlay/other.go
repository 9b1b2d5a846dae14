//go:build !linux

package overlay

import (
	"errors"
	"fmt"

	"github.com/occystrap/occystrap/pipeline"
)

type way int

var errLinux = fmt.Errorf("images are mounted on Linux only: %w", errors.ErrUnsupported)

func newSink(pipeline.Location, Config) (pipeline.Sink, error) { return nil, errLinux }

// Unmount is for Linux.
func Unmount(string, bool) error { return errLinux }
