package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/plugin/control/wire"
)

// mostImage bounds what an image may say of itself: a config of the largest size
// in base64, and layers.
const mostImage = 32 << 20

// Image says what an image of a graph driver is: its config, which the caller
// checks against the image's ID, and its layers. root is the daemon's own folder,
// as the daemon tells it.
func (c *Client) Image(ctx context.Context, root string, id digest.Digest) (wire.Image, error) {
	var i wire.Image
	rc, err := c.stream(ctx, "image "+id.String(), root, wire.Request{Op: wire.OpImage, Image: id})
	if err != nil {
		return i, err
	}
	defer rc.Close()
	raw, err := io.ReadAll(io.LimitReader(rc, mostImage))
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(raw, &i); err != nil {
		return i, fmt.Errorf("read image %s from the sidecar: %w", id, err)
	}
	return i, nil
}

// Layer returns a layer of an image of a graph driver as a plain tar. The reader
// gives io.EOF only when the sidecar has found the diff ID right. The caller
// closes it; several may be read at once.
func (c *Client) Layer(ctx context.Context, root string, image, diffID digest.Digest) (io.ReadCloser, error) {
	return c.stream(ctx, "layer "+diffID.String(), root, wire.Request{Op: wire.OpLayer, Image: image, DiffID: diffID})
}

func (c *Client) stream(ctx context.Context, what, root string, r wire.Request) (io.ReadCloser, error) {
	var out *stream
	err := c.try(ctx, func(s *session) (bool, error) {
		engine, err := s.info.graph(root)
		if err != nil {
			return false, err
		}
		r.Engine = engine.Name
		var f *os.File
		if _, err = s.ask(ctx, r, &f); err != nil {
			return false, errors.Join(err, closeFile(f))
		}
		if f == nil {
			return false, errors.New("the sidecar sent no pipe")
		}
		out = &stream{client: c, session: s, pipe: f, ctx: ctx, what: what}
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask the sidecar for %s: %w", what, err)
	}
	out.stop = context.AfterFunc(ctx, out.interrupt)
	return out, nil
}

func closeFile(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// A stream is what the sidecar writes into a pipe, and its word afterwards that
// this was all.
type stream struct {
	client  *Client
	session *session        // nil when the connection is closed or released
	ctx     context.Context //nolint:containedctx // io.Reader has none
	pipe    *os.File
	what    string
	stop    func() bool
	ended   error // once it is not nil there is nothing more to read
}

func (s *stream) Read(p []byte) (int, error) {
	if s.ended != nil {
		return 0, s.ended
	}
	n, err := s.pipe.Read(p)
	switch {
	case err == nil:
		return n, nil
	case s.ctx.Err() != nil:
		s.ended = fmt.Errorf("read %s from the sidecar: %w", s.what, context.Cause(s.ctx))
	case errors.Is(err, io.EOF):
		s.ended = s.finish()
	default:
		s.ended = fmt.Errorf("read %s from the sidecar: %w", s.what, err)
	}
	return n, s.ended
}

// finish reads whether the end of the pipe was the end of the layer: a sidecar
// that was killed closes its pipes too.
func (s *stream) finish() error {
	var last wire.Answer
	err := s.session.during(s.ctx, func() error { return s.session.conn.Receive(&last) })
	switch {
	case err != nil:
		return fmt.Errorf("read %s from the sidecar: it went away in the middle: %w", s.what, errors.Join(io.ErrUnexpectedEOF, err))
	case last.Error != nil:
		return fmt.Errorf("read %s from the sidecar: %w", s.what, refusal(last.Error))
	case !last.Done:
		return fmt.Errorf("read %s from the sidecar: %w: it does not say that this was all", s.what, io.ErrUnexpectedEOF)
	}
	s.stop()
	s.client.release(s.session)
	s.session = nil
	return io.EOF
}

// interrupt ends a Read that waits for a slow sidecar.
func (s *stream) interrupt() { _ = s.pipe.SetReadDeadline(time.Unix(1, 0)) }

// Close ends the stream. The sidecar notices at once.
func (s *stream) Close() error {
	s.stop()
	if s.ended == nil {
		s.ended = os.ErrClosed
	}
	err := s.pipe.Close()
	if s.session != nil {
		err = errors.Join(err, s.session.conn.Close())
		s.session = nil
	}
	if errors.Is(err, os.ErrClosed) {
		return nil // it was closed already
	}
	return err
}
