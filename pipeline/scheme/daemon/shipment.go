package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// A shipment is one archive on its way into one load:
//
//	layers, manifests ─▶ archive ─▶ pipe ─▶ POST /images/load
type shipment struct {
	archive  pipeline.Sink // writes into pw
	pr       *io.PipeReader
	pw       *io.PipeWriter
	transfer *transfer // nil before start

	mu   sync.Mutex
	next int // a seq beyond all that were used
}

// newShipment makes an archive that omits some layers.
func newShipment(t Target, omits func(digest.Digest) bool) *shipment {
	pr, pw := io.Pipe()
	return &shipment{pr: pr, pw: pw, archive: tarball.NewStreamSink(pw, tarball.SinkConfig{
		TempDir: t.TempDir,
		// An OCI layout with manifest.json beside it: Docker before 25 and graph
		// drivers read the one, the containerd store and Podman the other, which
		// keeps digests.
		Format: tarball.FormatAuto,
		// The archive names nothing: names are given when all was checked.
		Names:   func(pipeline.Manifest) []string { return nil },
		Omitted: omits,
	})}
}

// start opens the load. Contexts of single layers end before it does.
func (s *shipment) start(ctx context.Context, e *engine) {
	s.transfer = e.load(context.WithoutCancel(ctx), s.pr)
}

func (s *shipment) layer(ctx context.Context, seq int, l pipeline.Layer) (pipeline.LayerWriter, error) {
	s.used(seq)
	return s.archive.Layer(ctx, seq, l)
}

func (s *shipment) skip(seq int) {
	s.used(seq)
	if sk, ok := s.archive.(pipeline.Skipper); ok {
		sk.Skip(seq)
	}
}

func (s *shipment) used(seq int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = max(s.next, seq+1)
}

// add puts a layer of the shelf behind all that are in the archive.
func (s *shipment) add(ctx context.Context, shelf *registry.Shelf, d digest.Digest) (err error) {
	rc, blob, err := shelf.Open(ctx, d)
	if err != nil {
		return fmt.Errorf("open layer %s again: %w", d, err)
	}
	defer rc.Close()
	w, err := s.layer(ctx, s.next, pipeline.Layer{Blob: blob})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if _, err := io.Copy(w, rc); err != nil {
		return fmt.Errorf("read layer %s again: %w", d, err)
	}
	return w.Commit(ctx, blob, "")
}

// deliver ends the archive and waits for the daemon's answer.
func (s *shipment) deliver(ctx context.Context, manifests []pipeline.Manifest) error {
	for _, m := range manifests {
		if err := s.archive.Commit(ctx, m); err != nil {
			return err
		}
	}
	if err := s.archive.Publish(ctx); err != nil {
		return err
	}
	if err := s.pw.Close(); err != nil {
		return err
	}
	return s.transfer.wait(ctx)
}

// close cuts a load that was not delivered.
func (s *shipment) close() error {
	err := errors.Join(s.pw.CloseWithError(errAborted), s.archive.Close())
	if s.transfer != nil {
		s.transfer.stop()
	}
	return err
}
