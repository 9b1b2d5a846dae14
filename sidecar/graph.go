package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/plugin/control/wire"
	"github.com/occystrap/occystrap/plugin/graphdriver"
	"github.com/occystrap/occystrap/sidecar/lanes"
)

// graphReader reads the images of the graph driver of the Docker with that root.
func graphReader(root string) lanes.Reader { return driver{root} }

// A driver is opened for each request: Docker may come later than the sidecar, or
// be made anew.
type driver struct{ root string }

func (d driver) open() (*graphdriver.Store, error) {
	s, err := graphdriver.Open(d.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no Docker keeps images in %s: %w", d.root, pipeline.ErrNotFound)
	}
	return s, err
}

// Image is what the image with that ID is.
func (d driver) Image(ctx context.Context, id digest.Digest) (wire.Image, error) {
	s, err := d.open()
	if err != nil {
		return wire.Image{}, err
	}
	defer s.Close()
	found, err := s.Image(ctx, id)
	if err != nil {
		return wire.Image{}, err
	}
	i := wire.Image{Config: found.Config}
	for _, l := range found.Layers {
		i.Layers = append(i.Layers, wire.Layer{DiffID: l.DiffID, Size: l.Size})
	}
	return i, nil
}

// Layer is a layer of the image as a plain tar.
func (d driver) Layer(ctx context.Context, image, diffID digest.Digest) (io.ReadCloser, error) {
	s, err := d.open()
	if err != nil {
		return nil, err
	}
	defer s.Close() // the reader goes on
	return s.Layer(ctx, image, diffID)
}
