package lanes

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerOf asks the kernel who connected: the credentials that it had then.
func peerOf(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var p peer
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			failed = fmt.Errorf("read SO_PEERCRED: %w", err)
			return
		}
		p.uid = cred.Uid
		p.groups = append(peerGroups(int(fd)), cred.Gid)
	})
	return p, errors.Join(err, failed)
}

// peerGroups are the supplementary groups; none where the kernel does not tell
// (before Linux 4.13).
func peerGroups(fd int) []uint32 {
	groups := make([]uint32, 64) //nolint:mnd // more than most users have
	for range 2 {                // the second time with the room that the kernel asked for
		size := uint32(len(groups) * 4) //nolint:mnd // bytes of a group
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0) //nolint:gosec // x/sys has no function for it
		switch errno {
		case 0:
			return groups[:size/4] //nolint:mnd // see above
		case unix.ERANGE:
			groups = make([]uint32, size/4+1) //nolint:mnd // see above
		default:
			return nil
		}
	}
	return nil
}
