package lanes

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/plugin/control/wire"
)

const (
	// idleTime is how long a connection may have nothing to ask: a client keeps
	// some for its next requests.
	idleTime = 2 * time.Minute
	// sendTime is how long a client may take to take an answer.
	sendTime = 30 * time.Second
)

// A session is one connection, after its peer was admitted.
type session struct {
	server  *Server
	conn    *wire.Conn
	who     peer
	version int // 0 before hello
	grants  grants
}

// serve answers one request after another. What comes while one is under way
// waits, and a connection that ends ends what is under way.
func (n *session) serve(ctx context.Context) {
	defer n.recovered()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests := make(chan wire.Request)
	ended := make(chan error, 1)
	go func() {
		ended <- n.listen(ctx, requests)
		cancel()
	}()
	defer func() {
		_ = n.conn.Close() // ends listen
	}()
	idle := time.NewTimer(idleTime)
	defer idle.Stop()
	for {
		select {
		case r := <-requests:
			if err := n.handle(ctx, r); err != nil {
				return // the client is gone, or was told
			}
			idle.Reset(idleTime)
		case <-idle.C:
			return
		case <-ctx.Done():
			n.farewell(ended)
			return
		}
	}
}

// farewell says what was wrong with the last message, if something was.
func (n *session) farewell(ended <-chan error) {
	select {
	case err := <-ended:
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, syscall.ECONNRESET) {
			return
		}
		n.refuse(wire.Errorf(wire.Malformed, "the sidecar ends the connection: %v", err))
	default: // the sidecar stops
	}
}

// listen hands on what the client sends.
func (n *session) listen(ctx context.Context, requests chan<- wire.Request) error {
	for {
		var r wire.Request
		if err := n.conn.Receive(&r); err != nil {
			return err
		}
		select {
		case requests <- r:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// recovered keeps a fault in one session from ending all others.
func (n *session) recovered() {
	if r := recover(); r != nil {
		n.server.log.Error("a session failed; please report it", "uid", n.who.uid, "panic", r)
	}
}

// handle answers a request. An error ends the connection.
func (n *session) handle(ctx context.Context, r wire.Request) error {
	answer, lent, err := n.answer(ctx, r)
	if err != nil {
		e := asWire(err)
		if e.Code == wire.Failed && ctx.Err() == nil {
			n.server.log.Error("could not answer a request", "uid", n.who.uid, "op", r.Op, "error", err)
		}
		if sent := n.send(wire.Answer{Error: e}, nil); sent != nil || e.Code == wire.Malformed {
			return errors.Join(sent, e)
		}
		return nil
	}
	if lent.stream != nil {
		return n.stream(ctx, answer, lent.stream)
	}
	sent := n.send(answer, lent.file)
	if lent.file != nil {
		sent = errors.Join(sent, lent.file.Close())
	}
	return sent
}

// A loan is what goes with an answer; both nil for nothing.
type loan struct {
	file   *os.File
	stream io.ReadCloser
}

func (n *session) answer(ctx context.Context, r wire.Request) (wire.Answer, loan, error) {
	if n.version == 0 && r.Op != wire.OpHello {
		return wire.Answer{}, loan{}, wire.Errorf(wire.Malformed, "the first request is %q; it has to be %q", r.Op, wire.OpHello)
	}
	if needs := needs(r.Op); needs > max(n.version, wire.Oldest) {
		return wire.Answer{}, loan{}, wire.Errorf(wire.Unsupported, "the sidecar does not know the request %q in version %d of the protocol", r.Op, n.version)
	}
	switch r.Op {
	case wire.OpHello:
		a, err := n.hello(r)
		return a, loan{}, err
	case wire.OpBlob:
		return n.blob(ctx, r)
	default:
		return n.graph(ctx, r)
	}
}

// needs is the version of the protocol that brought a request.
func needs(op string) int {
	switch op {
	case wire.OpHello, wire.OpBlob:
		return 1
	case wire.OpImage, wire.OpLayer:
		return 2 //nolint:mnd // see wire.Newest
	}
	return wire.Newest + 1
}

// hello settles on a version.
func (n *session) hello(r wire.Request) (wire.Answer, error) {
	v := min(r.Newest, wire.Newest)
	if v < wire.Oldest || v < r.Oldest || r.Oldest < 1 {
		return wire.Answer{}, wire.Errorf(wire.Malformed, "the client speaks versions %d to %d of the protocol, the sidecar %d to %d; install the same version of both", r.Oldest, r.Newest, wire.Oldest, wire.Newest)
	}
	n.version = v
	return wire.Answer{Version: v, Program: n.server.cfg.Program, Engines: n.server.engines}, nil
}

// refuse says why the connection ends.
func (n *session) refuse(e *wire.Error) {
	_ = n.send(wire.Answer{Error: e}, nil) // the connection ends in any case
}

func (n *session) send(a wire.Answer, f *os.File) error {
	if err := n.conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	return n.conn.Send(a, f)
}

// asWire gives an error the code that a client decides by.
func asWire(err error) *wire.Error {
	var e *wire.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, pipeline.ErrNotFound):
		return wire.Errorf(wire.NotFound, "%v", err)
	}
	return wire.Errorf(wire.Failed, "%v", err)
}

// checkDigests refuses what is no digest before anything is looked for.
func checkDigests(named map[string]digest.Digest) error {
	for name, d := range named {
		if err := d.Validate(); err != nil {
			return wire.Errorf(wire.Malformed, "%s is %q, which is no digest", name, truncated(d.String()))
		}
	}
	return nil
}

// truncated keeps what a stranger sent from filling a message.
func truncated(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
