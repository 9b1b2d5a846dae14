package pipelinetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A Sink is a pipeline.Sink in memory that trusts nothing: a layer whose bytes
// are not those it is committed as, or a manifest whose blobs did not come, is
// an error.
type Sink struct {
	Store *Store
	// Wants is what Plan answers; Held besides is what Store has.
	Wants pipeline.Plan
	// Holds is what Capacity answers.
	Holds pipeline.Capacity
	// Refuse, if set, may fail a layer at its first write.
	Refuse func(seq int) error

	mu        sync.Mutex
	Started   int // layers that were begun
	Discarded int // layers that were begun and not committed
	Committed []pipeline.Manifest
	Published []pipeline.Manifest
	Closed    bool
}

var (
	_ pipeline.Sink    = (*Sink)(nil)
	_ pipeline.Limited = (*Sink)(nil)

	_ pipeline.Foreseer = (*Sink)(nil)
)

// NewSink returns an empty sink.
func NewSink() *Sink { return &Sink{Store: NewStore()} }

// Foresee changes nothing: Plan leaves no trace.
func (s *Sink) Foresee() {}

// Capacity answers Holds.
func (s *Sink) Capacity(context.Context) (pipeline.Capacity, error) { return s.Holds, nil }

// Plan answers Wants.
func (s *Sink) Plan(_ context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	p := s.Wants
	p.Held = s.Store.Bytes(l.Blob.Digest) != nil
	return p, nil
}

// Layer begins a layer.
func (s *Sink) Layer(_ context.Context, seq int, _ pipeline.Layer) (pipeline.LayerWriter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Started++
	return &layerWriter{s: s, seq: seq}, nil
}

// Commit takes a manifest all of whose blobs are there.
func (s *Sink) Commit(ctx context.Context, m pipeline.Manifest) error {
	if got := digest.FromBytes(m.Raw); got != m.Desc.Digest || int64(len(m.Raw)) != m.Desc.Size {
		return fmt.Errorf("manifest is %s, its descriptor says %s", got, m.Desc.Digest)
	}
	s.Store.Put(m.Desc.MediaType, m.Raw)
	if m.Config != nil {
		s.Store.Put("", m.Config)
	}
	if err := s.complete(ctx, m); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Committed = append(s.Committed, m)
	return nil
}

// complete opens all that a manifest names.
func (s *Sink) complete(ctx context.Context, m pipeline.Manifest) error {
	root := pipeline.Root{Desc: m.Desc}
	q := pipeline.Query{Platforms: pipeline.Platforms{All: true}, Missing: pipeline.MissingFail}
	_, err := pipeline.Resolve(ctx, s.Store, []pipeline.Root{root}, q, pipeline.ResolveOptions{}, nil)
	return err
}

// Publish publishes the roots.
func (s *Sink) Publish(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.Committed {
		if m.Root {
			s.Published = append(s.Published, m)
		}
	}
	return nil
}

// Close ends the sink.
func (s *Sink) Close() error {
	s.Closed = true
	return nil
}

type layerWriter struct {
	s    *Sink
	seq  int
	b    bytes.Buffer
	done bool
}

func (w *layerWriter) Write(p []byte) (int, error) {
	if w.s.Refuse != nil && w.b.Len() == 0 {
		if err := w.s.Refuse(w.seq); err != nil {
			return 0, err
		}
	}
	return w.b.Write(p)
}

func (w *layerWriter) Commit(_ context.Context, blob ocispec.Descriptor, _ digest.Digest) error {
	if got := digest.FromBytes(w.b.Bytes()); got != blob.Digest || int64(w.b.Len()) != blob.Size {
		return fmt.Errorf("%d bytes of %s were committed as %d bytes of %s", w.b.Len(), got, blob.Size, blob.Digest)
	}
	if w.done {
		return errors.New("committed twice")
	}
	w.done = true
	w.s.Store.Put(blob.MediaType, w.b.Bytes())
	return nil
}

func (w *layerWriter) Close() error {
	if w.done {
		return nil
	}
	w.done = true
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.Discarded++
	return nil
}
