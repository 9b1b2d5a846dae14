package bundle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// bufferSize gathers what comes in small pieces.
const bufferSize = 256 << 10

// layerWriter receives one plain layer in a temporary file that has no name any
// more: whatever happens to the program, its space is free again.
type layerWriter struct {
	s   *sink
	f   *os.File // nil once the writer has ended
	buf *bufio.Writer
	n   int64
}

var _ pipeline.LayerWriter = (*layerWriter)(nil)

// Layer receives one layer, whatever their order.
func (s *sink) Layer(ctx context.Context, _ int, _ pipeline.Layer) (pipeline.LayerWriter, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	f, err := s.temporary()
	if err != nil {
		return nil, s.explain(err)
	}
	return &layerWriter{s: s, f: f, buf: bufio.NewWriterSize(f, bufferSize)}, nil
}

// temporary makes a file and removes its name.
func (s *sink) temporary() (*os.File, error) {
	if dir := s.cfg.TempDir; dir != "" {
		f, err := os.CreateTemp(dir, "occystrap-*")
		if err != nil {
			return nil, spool.Explain(dir, err)
		}
		return nameless(f, os.Remove(f.Name()))
	}
	f, name, err := s.session.Create()
	if err != nil {
		return nil, err
	}
	return nameless(f, s.session.Root.Remove(name))
}

func nameless(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (w *layerWriter) Write(p []byte) (int, error) {
	if w.f == nil {
		return 0, errEnded
	}
	n, err := w.buf.Write(p)
	w.n += int64(n)
	return n, w.explain(err)
}

var errEnded = errors.New("the layer was ended before")

// explain leaves the temporary name out, or says whose disk is full.
func (w *layerWriter) explain(err error) error {
	if err != nil && w.s.cfg.TempDir != "" {
		return spool.Explain(w.s.cfg.TempDir, err)
	}
	return w.s.explain(staging.Cause(err))
}

// Commit keeps the layer for Publish. A layer that came twice is kept once.
func (w *layerWriter) Commit(_ context.Context, blob ocispec.Descriptor, diffID digest.Digest) error {
	if w.f == nil {
		return errEnded
	}
	if w.n != blob.Size || diffID != "" && diffID != blob.Digest {
		return fmt.Errorf("layer %s: %w: %d bytes of %s came, its descriptor says %d", blob.Digest, pipeline.ErrDigest, w.n, diffID, blob.Size)
	}
	if err := w.buf.Flush(); err != nil {
		return w.explain(err)
	}
	w.s.mu.Lock()
	before := w.s.layers[blob.Digest]
	w.s.layers[blob.Digest] = w.f
	w.s.mu.Unlock()
	w.f = nil
	if before != nil {
		return before.Close()
	}
	return nil
}

// Close without Commit takes the layer back.
func (w *layerWriter) Close() error {
	if w.f == nil {
		return nil
	}
	f := w.f
	w.f = nil
	return f.Close()
}
