package pipelinetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// A Registry keeps what a registry.Handler serves in memory. It is for tests:
// nothing is ever collected.
type Registry struct {
	mu           sync.Mutex
	repositories map[string]*repository
	uploads      map[string]*memoryUpload // by repository and ID
}

type repository struct {
	blobs     map[digest.Digest][]byte
	manifests map[digest.Digest]registry.Manifest
	tags      map[string]digest.Digest
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{repositories: map[string]*repository{}, uploads: map[string]*memoryUpload{}}
}

// Backend is the registry with all that a backend can have.
func (r *Registry) Backend() registry.Backend {
	return registry.Backend{
		Blobs: memoryBlobs{r}, Uploads: memoryUploads{r}, Manifests: memoryManifests{r},
		Tags: memoryTags{r}, Referrers: memoryReferrers{r},
	}
}

// repository returns a repository, made if it is not there; with the lock held.
func (r *Registry) repository(name string) *repository {
	have := r.repositories[name]
	if have == nil {
		have = &repository{map[digest.Digest][]byte{}, map[digest.Digest]registry.Manifest{}, map[string]digest.Digest{}}
		r.repositories[name] = have
	}
	return have
}

type memoryBlobs struct{ *Registry }

var _ registry.Blobs = memoryBlobs{}

func (b memoryBlobs) find(name string, d digest.Digest) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if raw, ok := b.repository(name).blobs[d]; ok {
		return raw, nil
	}
	return nil, fmt.Errorf("blob %s: %w", d, pipeline.ErrNotFound)
}

func (b memoryBlobs) Stat(_ context.Context, name string, d digest.Digest) (int64, error) {
	raw, err := b.find(name, d)
	return int64(len(raw)), err
}

func (b memoryBlobs) Open(_ context.Context, name string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	raw, err := b.find(name, d)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(raw[offset:])), nil
}

func (b memoryBlobs) Mount(_ context.Context, name, from string, d digest.Digest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for other, have := range b.repositories {
		if raw, ok := have.blobs[d]; ok && (from == "" || from == other) {
			b.repository(name).blobs[d] = raw
			return nil
		}
	}
	return fmt.Errorf("blob %s: %w", d, pipeline.ErrNotFound)
}

func (b memoryBlobs) Delete(_ context.Context, name string, d digest.Digest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	have := b.repository(name).blobs
	if _, ok := have[d]; !ok {
		return fmt.Errorf("blob %s: %w", d, pipeline.ErrNotFound)
	}
	delete(have, d)
	return nil
}

type memoryManifests struct{ *Registry }

var _ registry.Manifests = memoryManifests{}

func (m memoryManifests) Stat(ctx context.Context, name string, ref registry.Ref) (ocispec.Descriptor, error) {
	desc, _, err := m.Get(ctx, name, ref)
	return desc, err
}

func (m memoryManifests) Get(_ context.Context, name string, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.repository(name)
	d := ref.Digest
	if d == "" {
		d = r.tags[ref.Tag]
	}
	if have, ok := r.manifests[d]; ok {
		return have.Desc, have.Raw, nil
	}
	return ocispec.Descriptor{}, nil, fmt.Errorf("manifest %s: %w", ref, pipeline.ErrNotFound)
}

func (m memoryManifests) Put(_ context.Context, name string, manifest registry.Manifest, tags []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.repository(name)
	r.manifests[manifest.Desc.Digest] = manifest
	for _, tag := range tags {
		r.tags[tag] = manifest.Desc.Digest
	}
	return nil
}

func (m memoryManifests) Delete(_ context.Context, name string, d digest.Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.repository(name)
	if _, ok := r.manifests[d]; !ok {
		return fmt.Errorf("manifest %s: %w", d, pipeline.ErrNotFound)
	}
	delete(r.manifests, d)
	for tag, of := range r.tags {
		if of == d {
			delete(r.tags, tag)
		}
	}
	return nil
}

type memoryTags struct{ *Registry }

var _ registry.Tags = memoryTags{}

func (t memoryTags) List(_ context.Context, name, last string, n int) ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.repositories[name]
	if !ok || len(r.blobs)+len(r.manifests) == 0 {
		return nil, fmt.Errorf("repository %s: %w", name, pipeline.ErrNotFound)
	}
	var out []string
	for tag := range r.tags {
		if tag > last {
			out = append(out, tag)
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out[:min(n, len(out))], nil
}

func (t memoryTags) Delete(_ context.Context, name, tag string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.repository(name)
	if _, ok := r.tags[tag]; !ok {
		return fmt.Errorf("tag %s: %w", tag, pipeline.ErrNotFound)
	}
	delete(r.tags, tag)
	return nil
}

type memoryReferrers struct{ *Registry }

var _ registry.Referrers = memoryReferrers{}

func (f memoryReferrers) List(_ context.Context, name string, subject digest.Digest) (out []ocispec.Descriptor, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.repository(name).manifests {
		if m.Subject != nil && m.Subject.Digest == subject {
			out = append(out, m.Desc)
		}
	}
	return out, nil
}
