package dir

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// layerWriter receives one layer in a temporary file.
type layerWriter struct {
	s    *sink
	f    *os.File // nil once the writer has ended
	name string
	buf  *bufio.Writer
	n    int64
}

var _ pipeline.FileWriter = (*layerWriter)(nil)

// Layer receives one layer, whatever their order.
func (s *sink) Layer(ctx context.Context, _ int, _ pipeline.Layer) (pipeline.LayerWriter, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	f, name, err := s.session.Create()
	if err != nil {
		return nil, s.explain(err)
	}
	return &layerWriter{s: s, f: f, name: name, buf: bufio.NewWriterSize(f, bufferSize)}, nil
}

func (w *layerWriter) Write(p []byte) (int, error) {
	if w.f == nil {
		return 0, errEnded
	}
	n, err := w.buf.Write(p)
	w.n += int64(n)
	return n, w.explain(err)
}

// Place is the temporary file.
func (w *layerWriter) Place() (pipeline.Section, bool) {
	return pipeline.Section{File: w.f}, w.f != nil && w.n == 0
}

// Placed says that the layer is there.
func (w *layerWriter) Placed(n int64) { w.n = n }

var errEnded = errors.New("the layer was ended before")

// explain leaves the temporary name out.
func (w *layerWriter) explain(err error) error { return w.s.explain(staging.Cause(err)) }

// Commit keeps the layer for Publish. A layer that came twice is kept once.
func (w *layerWriter) Commit(_ context.Context, blob ocispec.Descriptor, diffID digest.Digest) error {
	if w.f == nil {
		return errEnded
	}
	if err := blob.Digest.Validate(); err != nil {
		return fmt.Errorf("layer digest %q: %w", blob.Digest, err)
	}
	if w.n != blob.Size {
		return fmt.Errorf("layer %s: %w: %d bytes came, its descriptor says %d", blob.Digest, pipeline.ErrDigest, w.n, blob.Size)
	}
	if !w.s.oci && diffID != "" && diffID != blob.Digest {
		return w.s.explain(fmt.Errorf("layer %s: %w", blob.Digest, errNotPlain("compressed layers")))
	}
	if err := w.buf.Flush(); err != nil {
		return w.explain(err)
	}
	f := w.f
	w.f = nil
	if err := f.Close(); err != nil {
		return w.explain(err)
	}
	w.s.mu.Lock()
	before, twice := w.s.layers[blob.Digest]
	w.s.layers[blob.Digest] = w.name
	w.s.mu.Unlock()
	if twice {
		return w.s.explain(staging.Plain(w.s.session.root.Remove(before)))
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
	return w.explain(errors.Join(f.Close(), w.s.session.root.Remove(w.name)))
}
