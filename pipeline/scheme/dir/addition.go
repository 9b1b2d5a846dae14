package dir

import (
	"context"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// An Addition puts more beside the image of a plain directory than the layout
// has: mounts:// is dir:// with one. Its methods are called in this order, from
// one goroutine; after an error of one none follows.
type Addition interface {
	// Begin is called before the source is opened. Its error leaves the directory
	// as it was.
	Begin(ctx context.Context, w *Workspace) error
	// Prepare is called when the image is complete, before anything of it has its
	// name: what is made now has temporary names.
	Prepare(ctx context.Context, i Image) error
	// Place is called when layers and config have their names, and the lists do
	// not yet name the image. Until Show has returned, no other program changes
	// the directory.
	Place() error
	// Show is called when all else is there.
	Show() error
}

// An Image is what an Addition is told.
type Image struct {
	// Config is the image's config, byte for byte.
	Config []byte
	// Layers are its diff IDs, the lowest first.
	Layers []digest.Digest
}

// A Workspace is the directory that an Addition works in. It stays the sink's.
type Workspace struct {
	*staging.Dir
	s *sink
}

// NewSink opens dir://, plain, for one image and an Addition.
func NewSink(loc pipeline.Location, cfg Config, add Addition) (pipeline.Sink, error) {
	s, err := newSink(loc, cfg, add)
	if err != nil {
		return nil, err
	}
	s.one = true
	return s, nil
}

// Path is the directory as the user named it.
func (w *Workspace) Path() string { return w.s.path }

// Layer opens the plain tar of a layer of the image. It is for Prepare.
func (w *Workspace) Layer(d digest.Digest) (*os.File, error) { return w.s.openLayer(d) }

// nothing is the Addition of dir:// itself.
type nothing struct{}

func (nothing) Begin(context.Context, *Workspace) error { return nil }
func (nothing) Prepare(context.Context, Image) error    { return nil }
func (nothing) Place() error                            { return nil }
func (nothing) Show() error                             { return nil }
