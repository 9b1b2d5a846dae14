package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A content is one repository of a Backend as a place that holds blobs.
type content struct {
	b          Backend
	repository string
	limits     pipeline.Limits
	// open, if set, opens blobs in place of the backend.
	open func(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error)
}

var _ pipeline.Referring = (*content)(nil)

// Fetch returns a manifest, or a small blob.
func (c *content) Fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	what := "blob " + desc.Digest.String()
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	if err := c.limits.CheckManifest(what, desc.Size); err != nil {
		return nil, err
	}
	raw, err := c.read(ctx, desc)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if got := desc.Digest.Algorithm().FromBytes(raw); got != desc.Digest {
		return raw, pipeline.DigestError(what, desc.Digest, got)
	}
	return raw, nil
}

// read reads a manifest where it is one. What a list calls a manifest may be a
// blob (BuildKit's caches), and what has no type anything.
func (c *content) read(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if desc.MediaType == "" || isManifest(desc.MediaType) {
		_, raw, err := c.b.Manifests.Get(ctx, c.repository, Ref{Digest: desc.Digest})
		if !IsMissing(err) {
			return raw, err
		}
	}
	rc, err := c.unverified(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(io.LimitReader(rc, desc.Size+1)) // its digest is checked as a whole
}

func (c *content) unverified(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if c.open != nil {
		return c.open(ctx, desc)
	}
	rc, err := c.b.Blobs.Open(ctx, c.repository, desc.Digest, 0)
	return rc, found(err)
}

// Holds says whether a manifest or blob is there.
func (c *content) Holds(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	var err error
	if isManifest(desc.MediaType) {
		_, err = c.b.Manifests.Stat(ctx, c.repository, Ref{Digest: desc.Digest})
	} else {
		_, err = c.b.Blobs.Stat(ctx, c.repository, desc.Digest)
		if desc.MediaType == "" && IsMissing(err) {
			_, err = c.b.Manifests.Stat(ctx, c.repository, Ref{Digest: desc.Digest})
		}
	}
	if IsMissing(err) {
		return false, nil
	}
	return err == nil, err
}

// Open reads a blob, verified. The caller closes it.
func (c *content) Open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	rc, err := c.unverified(ctx, desc)
	if err != nil {
		return nil, err
	}
	return pipeline.Verified(rc, desc), nil
}

// Referrers lists what refers to a manifest: what the backend lists, and what has
// a tag of cosign's.
func (c *content) Referrers(ctx context.Context, subject digest.Digest) (out []pipeline.Referrer, err error) {
	if c.b.Referrers != nil {
		listed, err := c.b.Referrers.List(ctx, c.repository, subject)
		if err != nil && !IsMissing(err) {
			return nil, err
		}
		for _, d := range listed {
			out = append(out, pipeline.Referrer{Desc: d})
		}
	}
	for _, tag := range pipeline.CosignTags(subject) {
		desc, raw, err := c.b.Manifests.Get(ctx, c.repository, Ref{Tag: tag})
		if IsMissing(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		desc.Data = raw
		out = append(out, pipeline.Referrer{Desc: desc, Tag: tag})
	}
	if limit := c.limits.WithDefaults().Manifests; len(out) > limit {
		return nil, fmt.Errorf("%d referrers: %w of %d", len(out), pipeline.ErrLimit, limit)
	}
	return out, nil
}

func isManifest(mediaType string) bool {
	return pipeline.IsIndex(mediaType) || pipeline.IsManifest(mediaType)
}

// found makes every answer that something is not there one that the engine knows.
func found(err error) error {
	if IsMissing(err) && !errors.Is(err, pipeline.ErrNotFound) {
		return errors.Join(pipeline.ErrNotFound, err)
	}
	return err
}
