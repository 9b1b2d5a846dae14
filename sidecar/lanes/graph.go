package lanes

import (
	"bytes"
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

const (
	// stallTime is how long a client may leave a full pipe: longer than any pause
	// of a run that writes elsewhere, and an end to one that never goes on.
	stallTime = 10 * time.Minute
	// chunk is written into a pipe at once.
	chunk = 128 << 10
)

// graph opens what is known of, or a layer of, of an image of a graph driver.
func (n *session) graph(ctx context.Context, r wire.Request) (wire.Answer, loan, error) {
	reader, ok := n.server.graphs[r.Engine]
	if !ok {
		return wire.Answer{}, loan{}, wire.Errorf(wire.Denied, "engine %q is no Docker that the sidecar reads", truncated(r.Engine))
	}
	named := map[string]digest.Digest{"image": r.Image}
	if r.Op == wire.OpLayer {
		named["diff_id"] = r.DiffID
	}
	if err := checkDigests(named); err != nil {
		return wire.Answer{}, loan{}, err
	}
	if r.Op == wire.OpLayer {
		stream, err := reader.Layer(ctx, r.Image, r.DiffID)
		return wire.Answer{}, loan{stream: stream}, err
	}
	image, err := reader.Image(ctx, r.Image)
	if err != nil {
		return wire.Answer{}, loan{}, err
	}
	raw, err := json.Marshal(image)
	return wire.Answer{}, loan{stream: io.NopCloser(bytes.NewReader(raw))}, err
}

// stream lends one end of a pipe and writes into the other until from ends, then
// says how that was.
func (n *session) stream(ctx context.Context, a wire.Answer, from io.ReadCloser) error {
	defer from.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return n.send(wire.Answer{Error: wire.Errorf(wire.Failed, "make a pipe: %v", err)}, nil)
	}
	err = n.send(a, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return errors.Join(err, w.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = w.SetWriteDeadline(time.Unix(1, 0)) }) // the past
	defer stop()
	err = pour(ctx, w, from)
	err = errors.Join(err, w.Close())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		n.server.log.Warn("a stream ended early", "uid", n.who.uid, "error", err)
		return n.send(wire.Answer{Error: asWire(err)}, nil)
	}
	return n.send(wire.Answer{Done: true}, nil)
}

// pour copies all of from into a pipe. A client that takes nothing for stallTime
// is given up.
func pour(ctx context.Context, w *os.File, from io.Reader) error {
	buf := make([]byte, chunk)
	for {
		got, err := from.Read(buf)
		if got > 0 {
			if err := w.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
				return err
			}
			if ctx.Err() != nil { // its deadline was just overwritten
				return context.Cause(ctx)
			}
			if _, err := w.Write(buf[:got]); err != nil {
				return fmt.Errorf("write into the client's pipe: %w", err)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
