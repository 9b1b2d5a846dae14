package sidecar

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// short is a folder whose path a socket's fits.
func short(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "side") //nolint:usetesting // short
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// echo answers at a gate until it is shut.
func echo(d *Door) {
	for {
		c, err := d.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// said is what comes back for a word.
func said(t testing.TB, path, word string) string {
	t.Helper()
	c, err := net.Dial("unix", path)
	must(t, err)
	defer c.Close()
	_, err = io.WriteString(c, word)
	must(t, errors.Join(err, c.(*net.UnixConn).CloseWrite()))
	raw, err := io.ReadAll(c)
	must(t, err)
	return string(raw)
}

// Whoever connects while the gate shuts is served by it or by the next one: the
// socket stays, as systemd keeps it.
func TestNobodyIsLostWhenTheGateShuts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(short(t), "s")
	l, err := net.Listen("unix", path)
	must(t, err)
	kept, err := l.(*net.UnixListener).File() // systemd's own descriptor
	must(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, l.Close())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	go func() { // as systemd does: start one after the other
		starts := 0
		for ctx.Err() == nil {
			l, err := net.FileListener(kept)
			if err != nil {
				t.Error(err)
				break
			}
			starts++
			g := NewGate(time.Millisecond, nil)
			d := g.Door(l)
			go echo(d)
			if err := g.Open(ctx); err != nil {
				t.Error(err)
			}
		}
		done <- starts
	}()
	for range 300 {
		if got := said(t, path, "hello"); got != "hello" {
			t.Fatalf("lost: %q", got)
		}
	}
	cancel()
	if n := <-done; n < 2 {
		t.Logf("the gate was shut %d times only", n)
	}
	must(t, kept.Close())
}

// While somebody is connected the gate stays open, at every door.
func TestTheGateStaysOpenForItsGuests(t *testing.T) {
	t.Parallel()
	dir := short(t)
	g := NewGate(time.Millisecond, nil)
	var paths []string
	for _, name := range []string{"a", "b"} {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		must(t, err)
		paths = append(paths, l.Addr().String())
		go echo(g.Door(l))
	}
	// One is in the queue before the gate is open: it may not shut for idleness
	// before it has seen him, however late it is.
	c, err := net.Dial("unix", paths[0])
	must(t, err)
	opened := make(chan error)
	go func() { opened <- g.Open(t.Context()) }()
	buf := make([]byte, 1)
	for range 100 {
		if _, err := c.Write([]byte("x")); err != nil {
			break // it was shut before it began: he is systemd's
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			break
		}
		if got := said(t, paths[1], "y"); got != "y" {
			t.Fatalf("the other door gave %q", got)
		}
	}
	must(t, c.Close())
	must(t, <-opened)
}

// A signal ends it, whoever is connected; they are not cut off.
func TestTheEndLetsGuestsFinish(t *testing.T) {
	t.Parallel()
	path := filepath.Join(short(t), "s")
	l, err := net.Listen("unix", path)
	must(t, err)
	guests := make(chan int, 100)
	g := NewGate(0, func(n int) { guests <- n })
	d := g.Door(l)
	go echo(d)
	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan error)
	go func() { opened <- g.Open(ctx) }()
	c, err := net.Dial("unix", path)
	must(t, err)
	if n := <-guests; n != 1 {
		t.Errorf("%d guests", n)
	}
	cancel()
	must(t, <-opened)
	if d.Visit(t.Context(), nil) {
		t.Error("a visitor is let in after the end")
	}
	_, err = c.Write([]byte("x"))
	must(t, err)
	buf := make([]byte, 1)
	_, err = io.ReadFull(c, buf)
	must(t, errors.Join(err, c.Close()))
	if n := <-guests; n != 0 {
		t.Errorf("%d guests", n)
	}
}

// The socket is nobody else's: a dead one is replaced, a living one is not, nor
// is a file; it ends with its listener.
func TestOwnSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(short(t), "s")
	at := socket{network: "unixpacket", path: path, group: os.Getgid()}
	dead, err := net.Listen("unixpacket", path)
	must(t, err)
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, dead.Close())
	l, err := at.listen(t.Context())
	must(t, err)
	info, err := os.Lstat(path)
	must(t, err)
	if got := info.Mode(); got != os.ModeSocket|0o660 {
		t.Errorf("its mode is %v", got)
	}
	if l.Addr().String() != path {
		t.Errorf("it is at %s", l.Addr())
	}
	if _, err := at.listen(t.Context()); err == nil || !strings.Contains(err.Error(), "something is there already") {
		t.Errorf("a second one: %v", err)
	}
	must(t, l.Close())
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := at.listen(t.Context()); err == nil {
		t.Error("a file was replaced")
	}
	at.path = filepath.Join(path+"none", "s")
	if _, err := at.listen(t.Context()); err == nil || !strings.Contains(err.Error(), "make the folder") {
		t.Errorf("without its folder: %v", err)
	}
}

// The watchdog's question goes the way of every request.
func TestTheSidecarAsksItself(t *testing.T) {
	t.Parallel()
	path := filepath.Join(short(t), "s")
	p := &program{version: "v1", log: discard()}
	ctx, cancel := context.WithCancel(t.Context())
	l, err := socket{network: "unixpacket", path: path, group: -1}.listen(t.Context())
	must(t, err)
	g := NewGate(0, nil)
	d := g.Door(l)
	server := lanesServer(p)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, d) }()
	opened := make(chan error, 1)
	go func() { opened <- g.Open(ctx) }()
	must(t, askSelf(t.Context(), d))
	cancel()
	must(t, errors.Join(<-opened, <-served))
	if err := askSelf(t.Context(), d); err == nil {
		t.Error("a sidecar that has ended answers itself")
	}
}

// Who is being stopped lets nobody in, himself neither, and is alive all the same.
func TestWhoIsStoppedNeedNotAnswer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(short(t), "s")
	l, err := net.Listen("unix", path)
	must(t, err)
	gate := NewGate(0, nil)
	door := gate.Door(l)
	hangs := errors.New("no answer")
	alive := gate.unlessShut(func(context.Context) error { return hangs })
	if err := alive(t.Context()); !errors.Is(err, hangs) {
		t.Errorf("open: %v", err)
	}
	must(t, door.Close())
	if err := alive(t.Context()); err != nil {
		t.Errorf("shut: %v", err)
	}
}

func TestErrorsOfTheMomentPass(t *testing.T) {
	t.Parallel()
	if !passing(&net.OpError{Err: os.NewSyscallError("accept4", syscall.EMFILE)}) || passing(syscall.EBADF) {
		t.Error("EMFILE passes, EBADF does not")
	}
}
