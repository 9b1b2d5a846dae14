package pipelinetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A Store holds blobs in memory. It is a pipeline.Content, and counts what is
// opened.
type Store struct {
	// Tagged are roots with cosign's tags, for Referrers.
	Tagged []pipeline.Root

	mu     sync.Mutex
	blobs  map[digest.Digest][]byte
	opened map[digest.Digest]int
}

var _ pipeline.Referring = (*Store)(nil)

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{blobs: map[digest.Digest][]byte{}, opened: map[digest.Digest]int{}}
}

// Put stores a blob and describes it.
func (s *Store) Put(mediaType string, b []byte) ocispec.Descriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := digest.FromBytes(b)
	s.blobs[d] = bytes.Clone(b)
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

// PutJSON stores a manifest or config.
func (s *Store) PutJSON(t testing.TB, mediaType string, v any) ocispec.Descriptor {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return s.Put(mediaType, b)
}

// Corrupt replaces a blob's bytes, keeping its name.
func (s *Store) Corrupt(d digest.Digest, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[d] = b
}

// Delete removes a blob.
func (s *Store) Delete(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, d)
}

// Bytes returns a blob; nil when it is not there.
func (s *Store) Bytes(d digest.Digest) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blobs[d]
}

// Opened says how often a blob was opened.
func (s *Store) Opened(d digest.Digest) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened[d]
}

// Fetch returns a blob.
func (s *Store) Fetch(_ context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if b := s.Bytes(desc.Digest); b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("blob %s: %w", desc.Digest, pipeline.ErrNotFound)
}

// Holds says whether a blob is there.
func (s *Store) Holds(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	return s.Bytes(desc.Digest) != nil, nil
}

// Referrers lists what refers to a manifest.
func (s *Store) Referrers(ctx context.Context, subject digest.Digest) ([]pipeline.Referrer, error) {
	s.mu.Lock()
	var blobs []ocispec.Descriptor
	for d, b := range s.blobs {
		blobs = append(blobs, ocispec.Descriptor{Digest: d, Size: int64(len(b))})
	}
	s.mu.Unlock()
	found, err := pipeline.FindReferrers(ctx, s, s.Tagged, slices.Values(blobs), pipeline.Limits{})
	return found[subject], err
}

// Open reads a blob, verified.
func (s *Store) Open(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, pipeline.ErrNotFound)
	}
	s.opened[desc.Digest]++
	return pipeline.Verified(io.NopCloser(bytes.NewReader(b)), desc), nil
}

// A Source is a pipeline.Source over a store.
type Source struct {
	Store   *Store
	Roots   []pipeline.Root
	Options pipeline.ResolveOptions
}

var _ pipeline.Source = (*Source)(nil)

// Open resolves the roots.
func (s *Source) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	return pipeline.Resolve(ctx, s.Store, s.Roots, q, s.Options, nil)
}
