package daemon

import (
	"context"
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peer is the process that listens at a unix socket (unix(7), SO_PEERCRED), by
// our own numbers; 0 where it has none, as from within a container.
func peer(ctx context.Context, path string) (pid int, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var refused error
	if err := raw.Control(func(fd uintptr) { cred, refused = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if refused != nil {
		return 0, refused
	}
	return int(cred.Pid), nil
}

// kernelRelease is that of this machine (uname(2)); "" while unknown.
func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
