package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/plugin/control/wire"
)

// Errors that callers decide by.
var (
	// ErrAbsent: no sidecar answers, or not to this user. Take another lane.
	ErrAbsent = errors.New("no sidecar")
	// ErrRefused: there is a sidecar, and it does not give this.
	ErrRefused = errors.New("the sidecar refuses")
)

// helloTime is ample for a sidecar that systemd has yet to start.
const helloTime = 30 * time.Second

// mostIdle is how many connections are kept for the next requests.
const mostIdle = 8

// A Client asks the sidecar behind one socket. Its methods may be called at
// once; each call has a connection of its own meanwhile.
type Client struct {
	socket string
	oldest int
	newest int

	mu     sync.Mutex
	idle   []*session
	closed bool
}

// New is a client for the socket at a path. Nothing is dialled yet.
func New(socket string) *Client {
	return &Client{socket: socket, oldest: wire.Oldest, newest: wire.Newest}
}

// Socket is where the client looks for the sidecar.
func (c *Client) Socket() string { return c.socket }

// An Info is what a sidecar says of itself.
type Info struct {
	// Program is the sidecar's version.
	Program string
	// Protocol is the version of the protocol that both speak.
	Protocol int
	// Engines are the places whose images it may read.
	Engines []wire.Engine
}

// Hello asks the sidecar who it is.
func (c *Client) Hello(ctx context.Context) (Info, error) {
	s, err := c.session(ctx)
	if err != nil {
		return Info{}, err
	}
	defer c.release(s)
	return s.info, nil
}

// Close closes idle connections, and those in use when they are released.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for _, s := range c.idle {
		errs = append(errs, s.conn.Close())
	}
	c.idle = nil
	return errors.Join(errs...)
}

// A session is a connection after hello.
type session struct {
	conn *wire.Conn
	info Info
	used bool // it was idle before
}

// session takes an idle connection, or makes one.
func (c *Client) session(ctx context.Context) (*session, error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		s := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		s.used = true
		return s, nil
	}
	c.mu.Unlock()
	return c.dial(ctx)
}

// release keeps a connection on which all was answered.
func (c *Client) release(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= mostIdle {
		_ = s.conn.Close() // nothing is under way on it
		return
	}
	c.idle = append(c.idle, s)
}

// dial connects and says hello.
func (c *Client) dial(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, wire.Network, c.socket)
	if err != nil {
		return nil, c.absent(err)
	}
	unix, ok := raw.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%w: %s is no unix socket", ErrAbsent, c.socket), raw.Close())
	}
	s := &session{conn: wire.NewConn(unix)}
	answer, err := s.ask(ctx, wire.Request{Op: wire.OpHello, Oldest: c.oldest, Newest: c.newest}, nil)
	if err == nil && (answer.Version < c.oldest || answer.Version > c.newest) {
		err = fmt.Errorf("%w: it speaks version %d of the protocol, this program %d to %d; install the same version of both", ErrAbsent, answer.Version, c.oldest, c.newest)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("say hello to the sidecar at %s: %w", c.socket, asAbsent(err)), unix.Close())
	}
	s.info = Info{Program: answer.Program, Protocol: answer.Version, Engines: answer.Engines}
	return s, nil
}

// absent says why there is no connection, and what helps.
func (c *Client) absent(err error) error {
	var why string
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = "nothing is at " + c.socket
	case errors.Is(err, fs.ErrPermission):
		why = "this user may not talk to " + c.socket + ", as members of its group may"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "nobody listens at " + c.socket
	case errors.Is(err, syscall.EPROTOTYPE):
		why = c.socket + " is a socket of another program"
	default:
		return fmt.Errorf("%w: connect to %s: %w", ErrAbsent, c.socket, err)
	}
	return fmt.Errorf("%w: %s", ErrAbsent, why)
}

// asAbsent marks what went wrong before anything was asked for.
func asAbsent(err error) error {
	if errors.Is(err, ErrAbsent) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrAbsent, err)
}

// ask sends a request and reads its answer, and what it brings into *f.
func (s *session) ask(ctx context.Context, r wire.Request, f **os.File) (wire.Answer, error) {
	var answer wire.Answer
	err := s.during(ctx, func() error {
		if err := s.conn.Send(r, nil); err != nil {
			return err
		}
		if f == nil {
			return s.conn.Receive(&answer)
		}
		var err error
		*f, err = s.conn.ReceiveFile(&answer)
		return err
	})
	if err != nil {
		return answer, err
	}
	return answer, refusal(answer.Error)
}

// during ends what is done with the connection when ctx ends.
func (s *session) during(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) }) // the past
	err := do()
	if !stop() && err != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the sidecar has closed the connection")
	}
	return err
}

// refusal gives the sidecar's errors a meaning.
func refusal(e *wire.Error) error {
	switch {
	case e == nil:
		return nil
	case e.Code == wire.NotFound:
		return fmt.Errorf("%w: %w", pipeline.ErrNotFound, e)
	case e.Code == wire.Failed:
		return e
	}
	return fmt.Errorf("%w: %w", ErrRefused, e)
}
