package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// Backend serves the shelf as one repository, to read from; every other name is
// not there.
func (s *Shelf) Backend(repository string) Backend {
	v := &shelfView{s, repository}
	return Backend{Blobs: v, Manifests: shelfManifests{v}, Tags: shelfTags{v}}
}

// shelfView is a shelf as the blobs of one repository.
type shelfView struct {
	*Shelf
	repository string
}

func (v *shelfView) check(repository string) error {
	if repository != v.repository {
		return fmt.Errorf("repository %s: %w", repository, pipeline.ErrNotFound)
	}
	return nil
}

// Stat says how many bytes a blob has.
func (v *shelfView) Stat(_ context.Context, repository string, d digest.Digest) (int64, error) {
	if err := v.check(repository); err != nil {
		return 0, err
	}
	return v.size(d)
}

// Open reads a blob, and counts what is read.
func (v *shelfView) Open(ctx context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	if err := v.check(repository); err != nil {
		return nil, err
	}
	v.mu.Lock()
	b, small := v.small[d]
	v.mu.Unlock()
	if small {
		return io.NopCloser(bytes.NewReader(b[offset:])), nil
	}
	rc, _, err := v.Shelf.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	// A source reads from the start alone, since its bytes count at their end.
	if _, err := io.CopyN(io.Discard, rc, offset); err != nil {
		return nil, errors.Join(fmt.Errorf("blob %s from byte %d on: %w", d, offset, err), rc.Close())
	}
	return &shelfReader{rc, ctx, v.Shelf, d}, nil
}

type shelfReader struct {
	io.ReadCloser
	ctx context.Context //nolint:containedctx // that of the request: io.Reader has none
	s   *Shelf
	d   digest.Digest
}

func (r *shelfReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.s.mu.Lock()
	r.s.read[r.d] += int64(n)
	failed := r.s.failed
	r.s.mu.Unlock()
	if err != nil && !errors.Is(err, io.EOF) && failed != nil && r.ctx.Err() == nil { // else the client went away
		failed(err)
	}
	return n, err
}

// Mount is not done: nothing is pushed here.
func (*shelfView) Mount(context.Context, string, string, digest.Digest) error {
	return errors.ErrUnsupported
}

// Delete is not done.
func (*shelfView) Delete(context.Context, string, digest.Digest) error { return errors.ErrUnsupported }

type shelfManifests struct{ *shelfView }

// Stat describes a manifest.
func (m shelfManifests) Stat(_ context.Context, repository string, ref Ref) (ocispec.Descriptor, error) {
	if err := m.check(repository); err != nil {
		return ocispec.Descriptor{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := ref.Digest
	if ref.Tag != "" {
		d = m.tags[ref.Tag]
	}
	desc, ok := m.manifests[d]
	if !ok {
		return desc, fmt.Errorf("manifest %s: %w", ref, pipeline.ErrNotFound)
	}
	return desc, nil
}

// Get returns a manifest.
func (m shelfManifests) Get(ctx context.Context, repository string, ref Ref) (ocispec.Descriptor, []byte, error) {
	desc, err := m.Stat(ctx, repository, ref)
	if err != nil {
		return desc, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return desc, m.small[desc.Digest], nil
}

// Put is not done.
func (shelfManifests) Put(context.Context, string, Manifest, []string) error {
	return errors.ErrUnsupported
}

// Delete is not done.
func (shelfManifests) Delete(context.Context, string, digest.Digest) error {
	return errors.ErrUnsupported
}

type shelfTags struct{ *shelfView }

// List lists tags.
func (t shelfTags) List(_ context.Context, repository, last string, n int) ([]string, error) {
	if err := t.check(repository); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for tag := range t.tags {
		if tag > last {
			out = append(out, tag)
		}
	}
	slices.Sort(out)
	return out[:min(n, len(out))], nil
}

// Delete is not done.
func (shelfTags) Delete(context.Context, string, string) error { return errors.ErrUnsupported }
