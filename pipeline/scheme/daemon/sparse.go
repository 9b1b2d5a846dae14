package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// sparse leaves out of an archive what a graph driver has. Docker's load looks
// for a layer by its chain ID first, which is its diff ID and those of all below
// it, and reads the archive only for one that is not there (moby,
// image/tarexport/load.go). The containerd store and Podman do otherwise: they
// get everything.
//
//	Plan     chain ID there? ─▶ held, never opened
//	Publish  the chains are final: what lacks after all follows
//	         load fails, and chains have gone meanwhile: once more, whole
type sparse struct {
	shelf *registry.Shelf // to read layers again

	mu     sync.Mutex
	chains map[digest.Digest]bool // nil: nothing is left out
	sent   map[digest.Digest]bool // layers that are in the archive
	held   map[digest.Digest]bool // by what Plan was told of them
}

// sparse says whether the daemon takes an archive without the layers that it has.
func (e *engine) sparse() bool { return !e.indexes && !e.podman }

// look asks a graph driver for its chains.
func (s *sparse) look(ctx context.Context, e *engine, t Target) {
	if !e.sparse() {
		return
	}
	chains, err := e.chains(ctx, t.Images)
	if err != nil {
		// The load itself will tell, if it is more than that.
		t.Events.Detail("all layers are sent: " + err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chains, s.sent, s.held = chains, map[digest.Digest]bool{}, map[digest.Digest]bool{}
}

// holds says whether a layer can be left out, by what is known of those below
// it: filters may still change them.
func (s *sparse) holds(l pipeline.Layer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chains == nil || l.Role != pipeline.FileSystem {
		return false
	}
	if l.Open != nil && !l.Absent && l.Blob.Digest != "" {
		s.shelf.Lend(l)
	}
	if !s.chains[l.ChainID()] {
		return false
	}
	s.held[l.Blob.Digest] = true
	return true
}

// omits says whether the daemon has a layer that the archive lacks.
func (s *sparse) omits(d digest.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[d]
}

// keep notes what goes into the archive. A layer that a filter made is kept in a
// temporary file, too, where others are left out: if those vanish, all layers
// have to be sent again.
func (s *sparse) keep(w pipeline.LayerWriter, l pipeline.Layer) (pipeline.LayerWriter, error) {
	s.mu.Lock()
	sparse, again := s.chains != nil, len(s.held) > 0
	again = again || s.chains[bottomOf(l).ChainID()]
	s.mu.Unlock()
	if !sparse {
		return w, nil
	}
	out := &keptWriter{LayerWriter: w, s: s}
	if l.Blob.Digest == "" && again {
		var err error
		if out.copy, err = s.shelf.Receive(); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return out, nil
}

func bottomOf(l pipeline.Layer) pipeline.Layer {
	if len(l.Parents) > 0 {
		return l.Parents[0]
	}
	return l
}

type keptWriter struct {
	pipeline.LayerWriter
	s    *sparse
	copy pipeline.LayerWriter // nil: none is kept
}

func (w *keptWriter) Write(p []byte) (int, error) {
	if w.copy != nil {
		if n, err := w.copy.Write(p); err != nil {
			return n, err
		}
	}
	return w.LayerWriter.Write(p)
}

func (w *keptWriter) Commit(ctx context.Context, blob ocispec.Descriptor, diffID digest.Digest) error {
	if err := w.LayerWriter.Commit(ctx, blob, diffID); err != nil {
		return err
	}
	w.s.mu.Lock()
	w.s.sent[blob.Digest] = true
	w.s.mu.Unlock()
	if w.copy == nil {
		return nil
	}
	return w.copy.Commit(ctx, blob, diffID)
}

func (w *keptWriter) Close() error {
	if w.copy == nil {
		return w.LayerWriter.Close()
	}
	return errors.Join(w.LayerWriter.Close(), w.copy.Close())
}

// lacking are layers that the daemon needs after all: another image has them
// upon other layers, or a filter changed what lies below.
func (s *sparse) lacking(arrivals []*arrival) (out []digest.Digest, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chains == nil {
		return nil, nil
	}
	seen := map[digest.Digest]bool{}
	for _, a := range arrivals {
		for _, c := range a.images {
			chain := pipeline.ChainIDs(c.diffIDs)
			for i, d := range c.layers {
				if s.sent[d] || seen[d] || i >= len(c.diffIDs) {
					continue
				}
				if s.chains[chain[i]] {
					s.held[d] = true // by an image that Plan was not told of
					continue
				}
				if !s.shelf.Holds(d) {
					return nil, fmt.Errorf("layer %s is not in the daemon and cannot be read again: %w", d, pipeline.ErrNotFound)
				}
				seen[d] = true
				out = append(out, d)
			}
		}
	}
	return out, nil
}

// whole sends everything, after a sparse load failed with cause, if that was
// since layers have vanished meanwhile.
func (s *Sink) whole(ctx context.Context, chosen []pipeline.Manifest, arrivals []*arrival, cause error) error {
	if ctx.Err() != nil || !s.sparse.vanished(ctx, s.engine, s.target, arrivals) {
		return cause
	}
	all, lost := s.sparse.all(arrivals)
	if lost != "" {
		return fmt.Errorf("the daemon at %s deleted layers while an image that needs them was loaded, and layer %s cannot be read again: run it once more: %w", s.target.Place.Host, lost, cause)
	}
	s.target.Events.Warn("the daemon at " + s.target.Place.Host + " deleted layers that it had when the run began; the image is loaded whole")
	if err := s.shipment.close(); err != nil {
		return errors.Join(cause, err)
	}
	s.shipment = newShipment(s.target, nil)
	s.shipment.start(ctx, s.engine)
	for _, d := range all {
		if err := s.shipment.add(ctx, s.sparse.shelf, d); err != nil {
			return err
		}
	}
	return s.shipment.deliver(ctx, chosen)
}

// vanished says whether a layer that was left out is not there any more.
func (s *sparse) vanished(ctx context.Context, e *engine, t Target, arrivals []*arrival) bool {
	if s.chains == nil {
		return false
	}
	now, err := e.chains(ctx, t.Images)
	if err != nil {
		return false
	}
	for _, a := range arrivals {
		for _, c := range a.images {
			chain := pipeline.ChainIDs(c.diffIDs)
			for i, d := range c.layers {
				if i < len(c.diffIDs) && !s.sent[d] && !now[chain[i]] {
					return true
				}
			}
		}
	}
	return false
}

// all are the layers of the images, each once; lost is one that cannot be read
// again.
func (s *sparse) all(arrivals []*arrival) (out []digest.Digest, lost digest.Digest) {
	seen := map[digest.Digest]bool{}
	for _, a := range arrivals {
		for _, c := range a.images {
			for _, d := range c.layers {
				if seen[d] {
					continue
				}
				if seen[d] = true; !s.shelf.Holds(d) {
					return nil, d
				}
				out = append(out, d)
			}
		}
	}
	return out, ""
}
