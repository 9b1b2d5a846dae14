package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A Sink is one repository of a Backend that an image is written to.
//
//	Plan     asks for a blob, and mounts it from a neighbour
//	Layer    is an upload, whose bytes arrive as they are written
//	Commit   puts configs, and manifests that others list, by their digest
//	Publish  puts referrers, then the roots, under their tags
//
// A run that fails leaves no manifest that a tag, or a list of referrers, leads to.
type Sink struct {
	b          Backend
	repository string
	tags       []string
	foresees   bool // nothing is mounted

	mu    sync.Mutex
	held  map[digest.Digest]bool // blobs that the repository has for certain
	open  map[*layerWriter]bool  // uploads that have not ended
	roots []Manifest
	refer []referrer // in their order: what they speak of comes first
}

// A referrer waits for Publish, with the tags that tie it to its subject.
type referrer struct {
	m    Manifest
	tags []string
}

var (
	_ pipeline.Sink     = (*Sink)(nil)
	_ pipeline.Mounter  = (*Sink)(nil)
	_ pipeline.Limited  = (*Sink)(nil)
	_ pipeline.Placed   = (*Sink)(nil)
	_ pipeline.Reopener = (*Sink)(nil)
	_ pipeline.Foreseer = (*Sink)(nil)
)

// NewSink returns a sink that puts one image or index into a repository, under
// tags; without any it is there by its digest alone, and there may be several.
// The backend must take uploads.
func NewSink(b Backend, repository string, tags []string) *Sink {
	return &Sink{b: b, repository: repository, tags: tags, held: map[digest.Digest]bool{}, open: map[*layerWriter]bool{}}
}

// Capacity is one image or index where tags are to lead to it.
func (s *Sink) Capacity(context.Context) (pipeline.Capacity, error) {
	return pipeline.Capacity{OneName: len(s.tags) > 0, NoReferrers: s.b.Referrers == nil}, nil
}

// Plan asks the repository whether it holds the layer, and lets it take the layer
// from where it lies already. Layers are kept as they come.
func (s *Sink) Plan(ctx context.Context, l pipeline.Layer) (plan pipeline.Plan, err error) {
	if len(l.Blob.URLs) > 0 {
		return pipeline.Plan{Held: true}, nil // it stays where its URLs point
	}
	if plan.Held, err = s.holds(ctx, l.Blob.Digest); err != nil || plan.Held || s.foresees || !s.MayMount(l) {
		return plan, err
	}
	plan.Held = s.mount(ctx, l)
	return plan, nil
}

// MayMount says whether the layer may lie where this backend can take it from.
func (s *Sink) MayMount(l pipeline.Layer) bool {
	if l.Origin == "" || l.Origin == s.Place() {
		return false
	}
	_, own := s.neighbour(l.Origin)
	_, adopts := s.b.Blobs.(Adopter)
	return own || adopts
}

// neighbour is the repository of the backend that an origin names.
func (s *Sink) neighbour(origin string) (repository string, ok bool) {
	if s.b.Place == "" {
		return "", false
	}
	return strings.CutPrefix(origin, s.b.Place+"/")
}

// mount takes a layer from a neighbour. What is refused can still be sent.
func (s *Sink) mount(ctx context.Context, l pipeline.Layer) bool {
	var err error
	if from, own := s.neighbour(l.Origin); own {
		err = s.b.Blobs.Mount(ctx, s.repository, from, l.Blob.Digest)
	} else if a, ok := s.b.Blobs.(Adopter); ok {
		err = a.Adopt(ctx, s.repository, l.Origin, l.Blob.Digest)
	}
	if err == nil {
		s.hold(l.Blob.Digest)
	}
	return err == nil
}

// Foresee makes Plan ask and nothing else.
func (s *Sink) Foresee() { s.foresees = true }

// Place names the repository, for others of the backend to mount from; "" where
// the backend has no name.
func (s *Sink) Place() string { return s.b.origin(s.repository) }

// Open reads a blob back, verified. The caller closes it.
func (s *Sink) Open(ctx context.Context, blob ocispec.Descriptor) (io.ReadCloser, error) {
	return (&content{b: s.b, repository: s.repository}).Open(ctx, blob)
}

// holds says whether the repository has a blob.
func (s *Sink) holds(ctx context.Context, d digest.Digest) (bool, error) {
	if d == "" { // it still arrives (pipeline.Early)
		return false, nil
	}
	if err := d.Validate(); err != nil {
		return false, fmt.Errorf("digest %q: %w", d, err)
	}
	s.mu.Lock()
	held := s.held[d]
	s.mu.Unlock()
	if held {
		return true, nil
	}
	_, err := s.b.Blobs.Stat(ctx, s.repository, d)
	switch {
	case IsMissing(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for blob %s: %w", d, err)
	}
	s.hold(d)
	return true, nil
}

// hold notes that the repository has a blob.
func (s *Sink) hold(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[d] = true
}

// Close gives up the uploads that were not committed.
func (s *Sink) Close() error {
	s.mu.Lock()
	var open []*layerWriter
	for w := range s.open {
		open = append(open, w)
	}
	s.mu.Unlock()
	var errs []error
	for _, w := range open {
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}
