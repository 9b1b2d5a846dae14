package layers

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/plugin/graphdriver"
)

// content gives out the blobs of images that were found.
type content struct {
	depot  graphdriver.Depot
	small  map[digest.Digest][]byte        // manifests and configs
	layers map[digest.Digest]digest.Digest // an image that has the layer
}

var _ pipeline.Content = (*content)(nil)

// add finds an image by its ID, and makes its manifest: a graph driver keeps none.
func (c *content) add(ctx context.Context, id digest.Digest) (ocispec.Descriptor, error) {
	image, err := c.depot.Image(ctx, id)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if got := id.Algorithm().FromBytes(image.Config); got != id {
		return ocispec.Descriptor{}, pipeline.DigestError("the config of image "+id.String(), id, got)
	}
	config := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: id, Size: int64(len(image.Config))}
	var layers []ocispec.Descriptor
	for _, l := range image.Layers {
		layers = append(layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: l.DiffID, Size: l.Size})
		c.layers[l.DiffID] = id
	}
	desc, raw, err := pipeline.NewManifest(config, layers)
	c.small[id], c.small[desc.Digest] = image.Config, raw
	return desc, err
}

// Fetch returns a manifest or config.
func (c *content) Fetch(_ context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if raw := c.small[desc.Digest]; raw != nil {
		return raw, nil
	}
	return nil, fmt.Errorf("blob %s: %w", desc.Digest, pipeline.ErrNotFound)
}

// Holds says whether the blob is one of an image that was found.
func (c *content) Holds(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	_, layer := c.layers[desc.Digest]
	return layer || c.small[desc.Digest] != nil, nil
}

// Open returns a blob's bytes; several may be read at once.
func (c *content) Open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if raw := c.small[desc.Digest]; raw != nil {
		return io.NopCloser(bytes.NewReader(raw)), nil
	}
	image, ok := c.layers[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, pipeline.ErrNotFound)
	}
	return c.depot.Layer(ctx, image, desc.Digest)
}
