//go:build unix

package wire

import (
	"fmt"
	"os"
	"syscall"
)

// rightsSpace has room for a control message with one descriptor.
var rightsSpace = syscall.CmsgSpace(4) //nolint:mnd // bytes of a descriptor

// rightsOf is the control message that sends a descriptor of f; none for nil.
func rightsOf(f *os.File) (rights []byte, err error) {
	if f == nil {
		return nil, nil
	}
	raw, err := f.SyscallConn() // Fd would make the file block
	if err != nil {
		return nil, err
	}
	err = raw.Control(func(fd uintptr) { rights = syscall.UnixRights(int(fd)) })
	return rights, err
}

// overflow says what the kernel cut off and closed.
func overflow(flags int) error {
	switch {
	case flags&syscall.MSG_CTRUNC != 0:
		return ErrDescriptor
	case flags&syscall.MSG_TRUNC != 0:
		return ErrTooLong
	}
	return nil
}

// file is the one descriptor of a control message; nil for none.
func file(rights []byte) (*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, fmt.Errorf("read a descriptor: %w", err)
	}
	var all []int
	for _, m := range messages {
		if fds, err := syscall.ParseUnixRights(&m); err == nil { // else of another kind
			all = append(all, fds...)
		}
	}
	for _, fd := range all[min(len(all), 1):] {
		_ = syscall.Close(fd) // one was promised
	}
	if len(all) == 0 {
		return nil, nil //nolint:nilnil // many answers bring none
	}
	// A pipe that does not block is read by Go's poller, which can be interrupted.
	if err := syscall.SetNonblock(all[0], true); err != nil {
		_ = syscall.Close(all[0])
		return nil, fmt.Errorf("take a descriptor: %w", err)
	}
	return os.NewFile(uintptr(all[0]), "lent by the sidecar"), nil
}
