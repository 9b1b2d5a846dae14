package sidecar

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/plugin/control/wire"
	"github.com/occystrap/occystrap/sidecar/lanes"
)

// graphReader reads the images of the graph driver of the Docker with that root.
func graphReader(root string) lanes.Reader { return noReader{root} }

// noReader reads nothing yet.
type noReader struct{ root string }

func (r noReader) Image(context.Context, digest.Digest) (wire.Image, error) {
	return wire.Image{}, wire.Errorf(wire.Unsupported, "the sidecar does not read the images in %s", r.root)
}

func (r noReader) Layer(context.Context, digest.Digest, digest.Digest) (io.ReadCloser, error) {
	return nil, wire.Errorf(wire.Unsupported, "the sidecar does not read the images in %s", r.root)
}
