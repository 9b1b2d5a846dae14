//go:build !unix

package store

import (
	"errors"
	"syscall"
)

// errDiskFull and errHandleDiskFull are those of Windows.
const (
	errHandleDiskFull = syscall.Errno(39)
	errDiskFull       = syscall.Errno(112)
)

// isFull says whether an error is that of a full disk.
func isFull(err error) bool {
	return errors.Is(err, errDiskFull) || errors.Is(err, errHandleDiskFull)
}
