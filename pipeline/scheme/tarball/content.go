package tarball

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// content gives out the blobs of an archive by their digest, verified.
type content struct{ *archive }

var _ pipeline.Referring = content{}

// Fetch returns a whole blob, within the limit of a manifest.
func (c content) Fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	size := desc.Size
	desc.Size = 0
	m, err := c.find(desc)
	if err != nil {
		return nil, err
	}
	raw, err := c.read(ctx, m)
	if err != nil {
		return nil, c.blaming(m, err)
	}
	if got := desc.Digest.Algorithm().FromBytes(raw); got != desc.Digest {
		return raw, c.blaming(m, pipeline.DigestError(m.name, desc.Digest, got))
	}
	return raw, c.checkSize(m, size)
}

// Holds says whether the blob is in the archive.
func (c content) Holds(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	return c.blobs[desc.Digest] != nil, nil
}

// Open returns a blob's bytes; several may be read at once.
func (c content) Open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if c.omits[desc.Digest] {
		return nil, fmt.Errorf("%s: %w", c.what, c.absent(desc.Digest))
	}
	m, err := c.find(desc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.what, err)
	}
	return c.verified(ctx, m, desc.Digest), nil
}

// blaming adds to an error about a member which volume it lies in.
func (a *archive) blaming(m *member, err error) error {
	if a.blame == nil {
		return err
	}
	return a.blame(err, m.off, m.size)
}

// Referrers finds what refers to a manifest among all that the archive holds.
func (c content) Referrers(ctx context.Context, subject digest.Digest) ([]pipeline.Referrer, error) {
	c.referring.Do(func() {
		c.referrers, c.unlisted = pipeline.FindReferrers(ctx, c, c.listed, c.held, c.limits)
	})
	return c.referrers[subject], c.unlisted
}

// held describes the blobs that are files of the archive.
func (c content) held(yield func(ocispec.Descriptor) bool) {
	for d, m := range c.blobs {
		if m.link == "" && !yield(ocispec.Descriptor{Digest: d, Size: m.size}) {
			return
		}
	}
}

// verified reads a member that has to have digest d. What was hashed on its way
// into our own temporary file is not hashed again.
func (a *archive) verified(ctx context.Context, m *member, d digest.Digest) io.ReadCloser {
	want := ocispec.Descriptor{Digest: d, Size: m.size}
	if a.own && m.sum == d {
		want.Digest = ""
	}
	r := a.open(ctx, m)
	rc, ok := r.(io.ReadCloser)
	if !ok {
		rc = io.NopCloser(r)
	}
	rc = pipeline.Verified(rc, want)
	if a.blame != nil {
		rc = &blamed{rc, func(err error) error { return a.blaming(m, err) }}
	}
	return pipeline.Named(rc, a.what+": "+m.name)
}

// find returns the member that holds a blob of the size that is promised.
func (c content) find(desc ocispec.Descriptor) (*member, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	m := c.blobs[desc.Digest]
	if m == nil {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, pipeline.ErrNotFound)
	}
	if m.link != "" {
		var err error
		if m, err = c.lookup(m.name); err != nil {
			return nil, err
		}
	}
	return m, c.checkSize(m, desc.Size)
}

func (content) checkSize(m *member, want int64) error {
	if want > 0 && want != m.size {
		return fmt.Errorf("%s has %d bytes, its descriptor says %d: %w", m.name, m.size, want, pipeline.ErrDigest)
	}
	return nil
}
