package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// A socket is a unix socket that a daemon makes itself, where systemd gives it
// none.
type socket struct {
	network, path string
	group         int // who may connect besides the owner; -1 for the process's own
}

// listen returns the listeners that systemd passed under a name
// (FileDescriptorName=), or else one on s.
func listen(ctx context.Context, all passedSockets, name string, s socket) ([]net.Listener, error) {
	if len(all) > 0 {
		return all.need(name, s.network)
	}
	l, err := s.listen(ctx)
	return []net.Listener{l}, err
}

// passed are the listeners that systemd passed under a name, of one of the kinds
// that net.Addr tells. Others are closed: they belong to another daemon. activated
// says whether it passed any at all.
func passed(name string, networks ...string) (ls []net.Listener, activated bool, err error) {
	all, err := fromSystemd()
	if err != nil || len(all) == 0 {
		return nil, false, err
	}
	ls, err = all.need(name, networks...)
	return ls, true, errors.Join(err, all.close())
}

// passedSockets are those of systemd by their names.
type passedSockets map[string][]net.Listener

// fromSystemd takes what systemd passed; it can be taken once.
func fromSystemd() (passedSockets, error) {
	all, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("take the sockets from systemd: %w", err)
	}
	return all, nil
}

// take takes those with a name out of them; there may be none.
func (s passedSockets) take(name string, networks ...string) (ls []net.Listener, err error) {
	ls = s[name]
	delete(s, name)
	for _, l := range ls {
		if got := l.Addr().Network(); !slices.Contains(networks, got) {
			err = errors.Join(err, fmt.Errorf("the socket %q at %s that systemd passed is of the kind %s, and has to be %s: see the socket unit in contrib/systemd",
				name, l.Addr(), got, strings.Join(networks, " or ")))
		}
	}
	return ls, err
}

// need takes those with a name, of which there has to be one.
func (s passedSockets) need(name string, networks ...string) ([]net.Listener, error) {
	names := slices.Sorted(maps.Keys(s))
	ls, err := s.take(name, networks...)
	if len(ls) == 0 {
		return nil, fmt.Errorf("systemd passed no socket with the name %q, but %s: set FileDescriptorName=%[1]s in the socket unit", name, strings.Join(names, ", "))
	}
	return ls, err
}

// close closes those that nobody took.
func (s passedSockets) close() error {
	var errs []error
	for others := range maps.Values(s) {
		for _, l := range others {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// listen makes the socket. One that nobody listens at is a dead sidecar's and is
// replaced.
func (s socket) listen(ctx context.Context) (net.Listener, error) {
	l, err := s.bind(ctx)
	if err == nil {
		return l, nil
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen at %s: something is there already; stop it, or name another path with --listen", s.path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("listen at %s: make the folder %s first, or name another path with --listen", s.path, filepath.Dir(s.path))
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("listen at %s: permission denied for user %d; start it by its units or as root, or name another path with --listen", s.path, os.Geteuid())
	}
	return nil, fmt.Errorf("listen at %s: %w", s.path, err)
}

// bind makes the socket under a name of its own, gives it its group and mode,
// and only then its path: nobody connects to one that is open to all.
func (s socket) bind(ctx context.Context) (net.Listener, error) {
	if err := s.removeDead(ctx); err != nil {
		return nil, err
	}
	hidden := fmt.Sprintf("%s.%d", s.path, os.Getpid())
	var c net.ListenConfig
	l, err := c.Listen(ctx, s.network, hidden)
	if err != nil {
		return nil, err
	}
	unix, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is no unix socket", s.network), l.Close())
	}
	err = os.Chmod(hidden, 0o660) //nolint:gosec // its group shall connect
	if err == nil && s.group >= 0 {
		err = os.Chown(hidden, -1, s.group)
	}
	if err == nil {
		err = os.Link(hidden, s.path) // unlike a rename it replaces nothing
	}
	if errors.Is(err, fs.ErrExist) {
		err = syscall.EADDRINUSE
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	unix.SetUnlinkOnClose(false)
	if err := os.Remove(hidden); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &ownListener{unix, s.path}, nil
}

// removeDead removes a socket at which nobody listens.
func (s socket) removeDead(ctx context.Context) error {
	info, err := os.Lstat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return syscall.EADDRINUSE
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, s.network, s.path)
	if err == nil {
		return errors.Join(syscall.EADDRINUSE, c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return syscall.EADDRINUSE
	}
	return os.Remove(s.path)
}

// An ownListener removes its socket when it is closed.
type ownListener struct {
	*net.UnixListener
	path string
}

// Addr is the path under which clients find it.
func (l *ownListener) Addr() net.Addr {
	return &net.UnixAddr{Name: l.path, Net: l.UnixListener.Addr().Network()}
}

// Close closes the listener.
func (l *ownListener) Close() error {
	return errors.Join(os.Remove(l.path), l.UnixListener.Close())
}
