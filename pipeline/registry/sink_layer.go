package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// Layer starts an upload.
func (s *Sink) Layer(ctx context.Context, _ int, _ pipeline.Layer) (pipeline.LayerWriter, error) {
	return s.begin(ctx)
}

func (s *Sink) begin(ctx context.Context) (*layerWriter, error) {
	if s.b.Uploads == nil {
		return nil, &Error{Code: Unsupported, Message: "nothing can be pushed here"}
	}
	id := newID()
	up, err := s.b.Uploads.Begin(ctx, s.repository, id)
	if err != nil {
		return nil, fmt.Errorf("begin an upload to %s: %w", s.repository, err)
	}
	w := &layerWriter{ctx: ctx, s: s, id: id, up: up, sum: digest.Canonical.Digester()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[w] = true
	return w, nil
}

// A layerWriter is one upload. Nobody else knows its name.
type layerWriter struct {
	ctx   context.Context //nolint:containedctx // of the run: Close has none
	s     *Sink
	id    string
	up    Upload
	sum   digest.Digester
	n     int64
	ended bool
}

// Write appends.
func (w *layerWriter) Write(p []byte) (int, error) {
	n, err := w.up.Write(p)
	w.n += int64(n)
	_, _ = w.sum.Hash().Write(p[:n]) // a hash never fails
	return n, err
}

// Commit makes the upload a blob if its bytes are those of the descriptor.
func (w *layerWriter) Commit(ctx context.Context, blob ocispec.Descriptor, _ digest.Digest) error {
	if w.n != blob.Size {
		return fmt.Errorf("layer %s: %w: %d bytes came, its descriptor says %d", blob.Digest, pipeline.ErrDigest, w.n, blob.Size)
	}
	if err := w.verify(ctx, blob.Digest); err != nil {
		return err
	}
	if err := w.up.Commit(ctx, blob.Digest); err != nil {
		return fmt.Errorf("store layer %s: %w", blob.Digest, err)
	}
	w.end()
	w.s.hold(blob.Digest)
	return nil
}

// verify compares the digest of what was written. That of another hash function
// than the usual one is computed by reading it again.
func (w *layerWriter) verify(ctx context.Context, want digest.Digest) error {
	if err := want.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", want, err)
	}
	s := &session{algorithm: digest.Canonical, sum: w.sum, hashed: w.n}
	got, err := s.digest(ctx, w.up, want.Algorithm())
	if err == nil && got != want {
		err = pipeline.DigestError("layer", want, got)
	}
	return err
}

// end says that nothing is left to cancel.
func (w *layerWriter) end() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.ended = true
	delete(w.s.open, w)
}

// Close cancels an upload that was not committed.
func (w *layerWriter) Close() error {
	if w.ended {
		return nil
	}
	w.end()
	err := errors.Join(w.up.Close(), w.s.b.Uploads.Cancel(context.WithoutCancel(w.ctx), w.s.repository, w.id))
	if IsMissing(err) {
		return nil // the place gave it up itself
	}
	return err
}

// blob stores a small blob, unless it is there.
func (s *Sink) blob(ctx context.Context, d digest.Digest, raw []byte) error {
	if held, err := s.holds(ctx, d); held || err != nil {
		return err
	}
	w, err := s.begin(ctx)
	if err != nil {
		return err
	}
	if _, err = bytes.NewReader(raw).WriteTo(w); err == nil {
		err = w.Commit(ctx, ocispec.Descriptor{Digest: d, Size: int64(len(raw))}, "")
	}
	return errors.Join(err, w.Close()) //nolint:contextcheck // it has the one of begin
}
