package control

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/plugin/graphdriver"
)

var _ graphdriver.Lender = (*Client)(nil)

// Depot gives out the images of the daemon that says root is where it keeps its
// data. The error says why the sidecar does not.
func (c *Client) Depot(ctx context.Context, root string) (graphdriver.Depot, error) {
	if err := c.Serves(ctx, root); err != nil {
		return nil, err
	}
	return depot{c, root}, nil
}

// A depot is one daemon's images, by the sidecar.
type depot struct {
	client *Client
	root   string
}

// Image returns an image by its ID.
func (d depot) Image(ctx context.Context, id digest.Digest) (graphdriver.Image, error) {
	said, err := d.client.Image(ctx, d.root, id)
	if err != nil {
		return graphdriver.Image{}, err
	}
	i := graphdriver.Image{Config: said.Config}
	for _, l := range said.Layers {
		i.Layers = append(i.Layers, graphdriver.Layer{DiffID: l.DiffID, Size: l.Size})
	}
	return i, nil
}

// Layer returns a layer as a plain tar, checked by the sidecar.
func (d depot) Layer(ctx context.Context, image, diffID digest.Digest) (io.ReadCloser, error) {
	return d.client.Layer(ctx, d.root, image, diffID)
}

// Close leaves the connections to the client.
func (depot) Close() error { return nil }
