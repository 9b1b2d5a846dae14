package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/occystrap/occystrap/pipeline"
)

const (
	socketName = "control.sock"
	// maxRequest is the size of a request: a name of an image, and little else.
	maxRequest = 64 << 10
	// askWithin is for how long a client may be silent before it has asked.
	askWithin = 10 * time.Second
)

// A request is what a client asks of the process that has the store open: one JSON
// document for each connection. The answer is one reply for each fault, and a last one.
type request struct {
	Do   string `json:"do"` // ls, usage, pin, unpin, prune, verify or repair
	Name string `json:"name,omitempty"`
	Low  int64  `json:"low,omitempty"`
}

// A reply is a part of the answer; one without a fault ends it.
type reply struct {
	Fault     *Fault     `json:"fault,omitempty"`
	Items     []Item     `json:"items,omitempty"`
	Usage     *Usage     `json:"usage,omitempty"`
	Name      string     `json:"name,omitempty"`
	Collected *Collected `json:"collected,omitempty"`
	Error     string     `json:"error,omitempty"`
	// NotFound says that the error is pipeline.ErrNotFound.
	NotFound bool `json:"notFound,omitempty"`
}

// control is the socket by which other processes ask this one. Only the user of the
// store, and root, may connect.
type control struct {
	s      *Store
	l      net.Listener
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// listen opens the socket. What a killed process left is removed: the lock is ours.
func (s *Store) listen(ctx context.Context) (*control, error) {
	path := filepath.Join(s.dir, socketName)
	if err := remove(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	short, done := shorter(path)
	defer done()
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", short)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the short name is gone by then
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), l.Close())
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &control{s: s, l: l, cancel: cancel}
	c.wg.Go(func() { c.serve(ctx) })
	return c, nil
}

// close ends all that is being answered.
func (c *control) close() error {
	c.cancel()
	err := errors.Join(c.l.Close(), remove(filepath.Join(c.s.dir, socketName)))
	c.wg.Wait()
	return err
}

func (c *control) serve(ctx context.Context) {
	for {
		conn, err := c.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			c.s.log("accept a connection", err)
			return
		}
		c.wg.Go(func() { c.answer(ctx, conn) })
	}
}

// answer serves one connection, until the store or the client ends it.
func (c *control) answer(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetReadDeadline(time.Now().Add(askWithin))
	var r request
	if err := json.NewDecoder(io.LimitReader(conn, maxRequest)).Decode(&r); err != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.wg.Go(func() { // a client that goes away wants no answer
		_, _ = io.Copy(io.Discard, conn)
		cancel()
	})
	out := json.NewEncoder(conn)
	last := c.do(ctx, r, func(f Fault) {
		if out.Encode(reply{Fault: &f}) != nil {
			cancel()
		}
	})
	_ = out.Encode(last) // nobody is there to be told
	_ = conn.Close()
}

func (c *control) do(ctx context.Context, r request, report func(Fault)) (last reply) {
	var err error
	switch r.Do {
	case "ls":
		last.Items, err = c.s.List(ctx)
	case "usage":
		var u Usage
		u, err = c.s.Usage(ctx)
		last.Usage = &u
	case "pin":
		last.Name, err = c.s.Pin(ctx, r.Name)
	case "unpin":
		last.Name, err = c.s.Unpin(ctx, r.Name)
	case "prune":
		var got Collected
		got, err = c.s.Prune(ctx, r.Low)
		last.Collected = &got
	case "verify":
		err = c.s.Verify(ctx, report)
	case "repair":
		err = c.s.Repair(ctx, report)
	default:
		err = errors.New("the process that has the store open does not know " + r.Do + "; is it older?")
	}
	if err != nil {
		return reply{Error: err.Error(), NotFound: errors.Is(err, pipeline.ErrNotFound)}
	}
	return last
}
