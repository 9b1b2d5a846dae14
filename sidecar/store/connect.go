package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/occystrap/occystrap/pipeline"
)

// Connect looks after the store in a directory: through the process that has it open, or
// by opening it if none has. It makes no store where there is none. The caller closes
// what it gets.
func Connect(ctx context.Context, dir string) (Admin, error) {
	if _, err := os.Stat(filepath.Join(dir, durableName)); errors.Is(err, fs.ErrNotExist) {
		return nil, &toldError{fmt.Sprintf("there is no store in %s; name its folder with --store", dir), pipeline.ErrNotFound}
	} else if err != nil {
		return nil, fmt.Errorf("connect to the store: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("connect to the store: %w", err)
	}
	c := &client{path: filepath.Join(dir, socketName)}
	conn, err := c.dial(ctx)
	if err == nil {
		return c, conn.Close()
	}
	s, err := Open(ctx, dir, Options{})
	if errors.Is(err, ErrLocked) { // by one that has begun meanwhile
		if conn, dialed := c.dial(ctx); dialed == nil {
			return c, conn.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// client asks the process that has the store open.
type client struct{ path string }

var _ Admin = (*client)(nil)

func (c *client) dial(ctx context.Context) (net.Conn, error) {
	short, done := shorter(c.path)
	defer done()
	return (&net.Dialer{}).DialContext(ctx, "unix", short)
}

// ask sends a request and returns the end of the answer.
func (c *client) ask(ctx context.Context, r request, report func(Fault)) (reply, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return reply{}, fmt.Errorf("ask the process that has the store open: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return reply{}, fmt.Errorf("ask the process that has the store open: %w", err)
	}
	in := json.NewDecoder(conn)
	for {
		var got reply
		err := in.Decode(&got)
		switch {
		case ctx.Err() != nil:
			return got, ctx.Err()
		case err != nil:
			return got, fmt.Errorf("the process that has the store open went away: %w", err)
		case got.NotFound:
			return got, &toldError{got.Error, pipeline.ErrNotFound}
		case got.Error != "":
			return got, &toldError{got.Error, nil}
		case got.Fault == nil:
			return got, nil
		case report != nil:
			report(*got.Fault)
		}
	}
}

// toldError is an error in words of its own: those of the other process, say.
type toldError struct {
	text string
	is   error
}

func (e *toldError) Error() string { return e.text }
func (e *toldError) Unwrap() error { return e.is }

// List returns all images.
func (c *client) List(ctx context.Context) ([]Item, error) {
	r, err := c.ask(ctx, request{Do: "ls"}, nil)
	if r.Items == nil {
		r.Items = []Item{}
	}
	return r.Items, err
}

// Usage says how full the store is.
func (c *client) Usage(ctx context.Context) (Usage, error) {
	r, err := c.ask(ctx, request{Do: "usage"}, nil)
	if err != nil || r.Usage == nil {
		return Usage{}, err
	}
	return *r.Usage, nil
}

// Pin keeps an image.
func (c *client) Pin(ctx context.Context, name string) (string, error) {
	r, err := c.ask(ctx, request{Do: "pin", Name: name}, nil)
	return r.Name, err
}

// Unpin keeps it no more.
func (c *client) Unpin(ctx context.Context, name string) (string, error) {
	r, err := c.ask(ctx, request{Do: "unpin", Name: name}, nil)
	return r.Name, err
}

// Prune removes images until at most low bytes are left.
func (c *client) Prune(ctx context.Context, low int64) (Collected, error) {
	r, err := c.ask(ctx, request{Do: "prune", Low: low}, nil)
	if err != nil || r.Collected == nil {
		return Collected{}, err
	}
	return *r.Collected, nil
}

// Verify reports faults.
func (c *client) Verify(ctx context.Context, report func(Fault)) error {
	_, err := c.ask(ctx, request{Do: "verify"}, report)
	return err
}

// Repair mends them.
func (c *client) Repair(ctx context.Context, report func(Fault)) error {
	_, err := c.ask(ctx, request{Do: "repair"}, report)
	return err
}

// Close has nothing to close: each request has its connection.
func (*client) Close() error { return nil }
