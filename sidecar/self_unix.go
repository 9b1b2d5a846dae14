//go:build unix

package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/occystrap/occystrap/plugin/control/wire"
)

// hangUp asks for the settings to be read again.
var hangUp os.Signal = syscall.SIGHUP

// groupsOf are the groups that the sockets belong to: the administrator has let
// them connect.
func groupsOf(ls []net.Listener) []uint32 {
	var groups []uint32
	for _, l := range ls {
		info, err := os.Stat(l.Addr().String())
		if err != nil {
			continue // an abstract socket has none
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			groups = append(groups, s.Gid)
		}
	}
	return groups
}

// askSelf says hello to the lanes as a client would. The sidecar's own user may
// not connect to its socket, so the connection is handed to the door.
func askSelf(ctx context.Context, d *Door) error {
	ours, theirs, err := pair()
	if err != nil {
		return err
	}
	defer ours.Close()
	if !d.Visit(ctx, theirs) {
		return errors.Join(errors.New("nobody is let in"), theirs.Close())
	}
	defer context.AfterFunc(ctx, func() { _ = ours.SetDeadline(time.Unix(1, 0)) })() // the past
	c := wire.NewConn(ours)
	if err := c.Send(wire.Request{Op: wire.OpHello, Oldest: wire.Oldest, Newest: wire.Newest}, nil); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	var a wire.Answer
	if err := c.Receive(&a); err != nil {
		return fmt.Errorf("wait for the answer to hello: %w", err)
	}
	if a.Error != nil {
		return a.Error
	}
	return nil
}

// pair makes two ends of one connection.
func pair() (a, b *net.UnixConn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a connection to itself: %w", err)
	}
	var ends []*net.UnixConn
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "itself")
		c, failed := net.FileConn(f) // it has a descriptor of its own, closed on exec
		err = errors.Join(err, failed, f.Close())
		if u, ok := c.(*net.UnixConn); ok {
			ends = append(ends, u)
		}
	}
	if err != nil || len(ends) != len(fds) {
		for _, c := range ends {
			_ = c.Close() // nothing was sent
		}
		return nil, nil, errors.Join(errors.New("make a connection to itself"), err)
	}
	return ends[0], ends[1], nil
}
