package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// loadLane leads into every daemon: the load of the Engine API, streamed. What a
// graph driver has of an image already is left out (sparse.go).
type loadLane struct{}

var _ Lane = loadLane{}

// Name is "load".
func (loadLane) Name() string { return "load" }

// Fits every daemon that says what its store is.
func (loadLane) Fits(_ context.Context, _ pipeline.Side, p *Place) (string, error) {
	e, err := p.engine()
	if err != nil {
		return "", err
	}
	if e.sparse() {
		return "the Engine API's load, without the layers that are there", nil
	}
	return "the Engine API's load", nil
}

// Source is nil: the lane leads in only.
func (loadLane) Source(Target) pipeline.Source { return nil }

// Sink loads images into the daemon of t.
func (loadLane) Sink(t Target) pipeline.Sink {
	s := &Sink{reception: newReception(t)}
	s.sparse = sparse{shelf: registry.NewShelf(t.TempDir)}
	s.shipment = newShipment(t, s.sparse.omits)
	return s
}

// A Sink loads images into a daemon. The archive streams while layers are still
// being processed; images get their names in Publish, after the daemon was
// asked what it has made of them. Until then a run that ends leaves nothing.
type Sink struct {
	reception
	sparse   sparse
	shipment *shipment

	foresees bool // no load is begun

	once sync.Once // guards what begin sets
	err  error

	mu      sync.Mutex
	begun   bool
	skipped []int // before it had begun
}

var (
	_ pipeline.Sink    = (*Sink)(nil)
	_ pipeline.Skipper = (*Sink)(nil)
	_ pipeline.Limited = (*Sink)(nil)

	_ pipeline.Foreseer = (*Sink)(nil)
)

// errAborted is what the daemon's side of the pipe sees of a run that ends
// early: the body is cut, which no daemon takes for a whole archive.
var errAborted = errors.New("the run was aborted")

// begin opens the load, once.
func (s *Sink) begin(ctx context.Context) error {
	s.once.Do(func() {
		s.sparse.look(ctx, s.engine, s.target)
		if s.foresees {
			return
		}
		s.shipment.start(ctx, s.engine)
		s.mu.Lock()
		s.begun = true
		skipped := s.skipped
		s.mu.Unlock()
		for _, seq := range skipped {
			s.shipment.skip(seq)
		}
	})
	return s.err
}

// Foresee makes Plan answer without a load.
func (s *Sink) Foresee() { s.foresees = true }

// Plan asks for plain layers where the daemon cannot read their compression, or
// could not and nobody knows yet what it is.
func (s *Sink) Plan(ctx context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	if err := s.begin(ctx); err != nil {
		return pipeline.Plan{}, err
	}
	plan := pipeline.Plan{Held: s.sparse.holds(l), Encoding: pipeline.Encoding{Recompress: s.target.Recompress}}
	if s.engine.podman || s.target.Place.Knows(apiZstd) {
		return plan, nil
	}
	switch pipeline.LayerCompression(l.Blob.MediaType) {
	case pipeline.Plain, pipeline.Gzip:
	default:
		// The daemon stores files: gzip on the way would be work twice.
		plan.Encoding = pipeline.Encoding{Compression: pipeline.Plain}
	}
	return plan, nil
}

// Layer takes one layer into the archive.
func (s *Sink) Layer(ctx context.Context, seq int, l pipeline.Layer) (pipeline.LayerWriter, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	w, err := s.shipment.layer(ctx, seq, l)
	if err != nil {
		return nil, err
	}
	return s.sparse.keep(w, l)
}

// Skip passes on that a layer will not come. The archive may start to be written
// by that, so it waits until somebody reads.
func (s *Sink) Skip(seq int) {
	s.mu.Lock()
	begun := s.begun
	if !begun {
		s.skipped = append(s.skipped, seq)
	}
	s.mu.Unlock()
	if begun {
		s.shipment.skip(seq)
	}
}

// Commit keeps the manifest.
func (s *Sink) Commit(ctx context.Context, m pipeline.Manifest) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	return s.take(m)
}

// Publish ends the archive, waits until the daemon has taken it, checks what
// became of it, and gives the names.
func (s *Sink) Publish(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	chosen, arrivals, err := s.choose(ctx)
	if err != nil {
		return err
	}
	lacking, err := s.sparse.lacking(arrivals)
	if err != nil {
		return err
	}
	for _, d := range lacking {
		if err := s.shipment.add(ctx, s.sparse.shelf, d); err != nil {
			return err
		}
	}
	failed := s.shipment.deliver(ctx, chosen)
	twin := errors.Is(failed, errTwin) // the image may be there all the same
	if failed != nil && !twin {
		if err := s.whole(ctx, chosen, arrivals, failed); err != nil {
			return err
		}
	}
	if err := s.check(ctx); err != nil {
		if twin {
			return fmt.Errorf("%w; it is not whole, run it once more: %w", failed, err)
		}
		return err
	}
	return s.name(ctx)
}

// Close cuts a load that was not published, so that the daemon discards it, and
// removes what arrived without getting its name.
func (s *Sink) Close() error {
	s.once.Do(func() { s.err = errAborted }) // nothing may begin from here on
	return errors.Join(s.shipment.close(), s.tidy(), s.sparse.shelf.Close())
}
