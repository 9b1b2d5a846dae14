package dir

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// content gives out the blobs of a directory by their digest, verified.
type content struct {
	*folder
	// files are the blobs whose place their digest does not tell.
	files map[digest.Digest]string
	// made are manifests and configs that are in no file as they are.
	made map[digest.Digest][]byte
	// layout: blobs are where an OCI layout keeps them.
	layout bool

	// listed are the images of a layout's index, once it was read.
	listed    []pipeline.Root
	referring sync.Once // guards what Referrers finds
	referrers map[digest.Digest][]pipeline.Referrer
	unlisted  error // why there is no list of referrers
}

var _ pipeline.Referring = (*content)(nil)

// file is where a blob lies; "" for nowhere.
func (c *content) file(d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", d, err)
	}
	if c.layout {
		return ocilayout.Blob(d), nil
	}
	return c.files[d], nil
}

// Fetch returns a whole blob, within the limit of a manifest.
func (c *content) Fetch(_ context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if raw := c.made[desc.Digest]; raw != nil {
		return raw, nil
	}
	name, size, err := c.find(desc)
	if err != nil {
		return nil, err
	}
	if err := c.limits.CheckManifest(name, size); err != nil {
		return nil, err
	}
	raw, err := c.read(name)
	if err != nil {
		return nil, err
	}
	if got := desc.Digest.Algorithm().FromBytes(raw); got != desc.Digest {
		return nil, pipeline.DigestError(name, desc.Digest, got)
	}
	return raw, nil
}

// Holds says whether the blob is in the directory.
func (c *content) Holds(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	name, err := c.file(desc.Digest)
	if err != nil || name == "" {
		return false, err
	}
	size, err := c.size(name)
	return size >= 0, err
}

// Open returns a blob's bytes; several may be read at once.
func (c *content) Open(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	name, _, err := c.find(desc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.what, err)
	}
	return c.verified(name, desc)
}

// Referrers finds what refers to a manifest among all that a layout holds.
func (c *content) Referrers(ctx context.Context, subject digest.Digest) ([]pipeline.Referrer, error) {
	if !c.layout {
		return nil, nil
	}
	c.referring.Do(func() {
		var blobs []ocispec.Descriptor
		if blobs, c.unlisted = c.blobs(); c.unlisted == nil {
			c.referrers, c.unlisted = pipeline.FindReferrers(ctx, c, c.listed, slices.Values(blobs), c.limits)
		}
	})
	return c.referrers[subject], c.unlisted
}

// blobs describes the blobs of a layout that may be manifests.
func (c *content) blobs() (out []ocispec.Descriptor, err error) {
	const folder = "blobs/sha256"
	d, err := c.root.Open(folder)
	if err != nil {
		return nil, staging.Plain(err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, staging.Plain(err)
	}
	for _, name := range names {
		desc := ocispec.Descriptor{Digest: digest.NewDigestFromEncoded(digest.SHA256, name)}
		if desc.Digest.Validate() != nil {
			continue
		}
		if desc.Size, err = c.size(ocilayout.Blob(desc.Digest)); err != nil {
			return nil, err
		}
		if desc.Size > 0 {
			out = append(out, desc)
		}
	}
	return out, nil
}

// find returns the file that holds a blob of the size that is promised.
func (c *content) find(desc ocispec.Descriptor) (name string, size int64, err error) {
	if name, err = c.file(desc.Digest); err != nil {
		return "", 0, err
	}
	size = -1
	if name != "" {
		if size, err = c.size(name); err != nil {
			return "", 0, err
		}
	}
	if size < 0 {
		return "", 0, fmt.Errorf("blob %s: %w", desc.Digest, pipeline.ErrNotFound)
	}
	if desc.Size > 0 && desc.Size != size {
		return "", 0, fmt.Errorf("%s has %d bytes, its descriptor says %d: %w", name, size, desc.Size, pipeline.ErrDigest)
	}
	return name, size, nil
}
