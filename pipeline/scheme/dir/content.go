package dir

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
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
}

var _ pipeline.Content = (*content)(nil)

// file is where a blob lies; "" for nowhere.
func (c *content) file(d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", d, err)
	}
	if c.layout {
		return blobName(d), nil
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
