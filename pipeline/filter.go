package pipeline

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A Filter changes an image on its way, or looks at it. It implements one or
// more of LayerFilter, ConfigFilter, Annotator, Chooser, Reshaper, Watcher and
// Finisher.
type Filter interface {
	// Recipe identifies what the filter does to its input.
	Recipe() Recipe
}

// A Recipe is the identity of a filter's effect: equal recipes turn equal
// layers into equal layers.
type Recipe struct {
	// Key is the filter's name and every option that changes its output, in a
	// canonical order. Caches go by it: a release in which the same options have
	// another effect writes it otherwise.
	Key string
	// Below: the output for a layer may depend on the layers below it, so that
	// the same layer in two images can come out as two.
	Below bool
	// Content: the filter reads what is in files, and not headers alone. What
	// another filter changes is then not edited in the compressed layer.
	Content bool
	// Recompress is how the filter was told to have changed layers compressed; ""
	// leaves it to the destination and the user.
	Recompress Recompress
	// Reproducible: the filter is there so that equal contents come out as equal
	// bytes. Unless somebody says otherwise changed layers are compressed anew,
	// since an edited stream keeps traces of how it was compressed before.
	Reproducible bool
}

// A LayerFilter is middleware over the entries of a layer's tar. Layer is
// called once for every attempt at a layer, from many goroutines; the handler
// it returns is used by one.
type LayerFilter interface {
	Filter
	// Layer returns the handler that passes on to next what the filter wants
	// kept. Returning next itself leaves the layer alone.
	Layer(ctx context.Context, l LayerInfo, next tarstream.Handler) (tarstream.Handler, error)
}

// A ConfigFilter rewrites image configs, or looks at them. It gets the config
// after the diff IDs were brought up to date, as the filters before it left it,
// and must keep fields that it does not know (EditJSON does). Returning equal
// bytes means no change. Image is the manifest as the source has it, as in
// ImageLayers.
type ConfigFilter interface {
	Filter
	Config(ctx context.Context, image ocispec.Descriptor, config []byte) ([]byte, error)
}

// An Annotator rewrites the annotations of image manifests. It may change notes,
// which is what the filters before it left, and returns what they are now. A
// Docker manifest, which has none, becomes an OCI one when it gets some.
type Annotator interface {
	Filter
	Annotations(ctx context.Context, image ocispec.Descriptor, notes map[string]string) (map[string]string, error)
}

// A Chooser says what of the source comes along, before it is opened: nothing
// else travels. So its place among the filters does not matter.
type Chooser interface {
	Filter
	// Choose changes how the run goes. An error is the user's mistake.
	Choose(o *Options) error
}

// A Finisher has a say, or results to give, once all manifests are known and
// before anything is published. An error fails the run.
type Finisher interface {
	Filter
	Finish(ctx context.Context, manifests []Manifest) error
}

// LayerInfo is what a filter may know of the layer before it.
type LayerInfo struct {
	Layer
	// ID is what a Watcher knows the layer by.
	ID LayerID
	// Filtered: an earlier filter may have changed what the handler sees.
	Filtered bool
	// Final: no later filter changes it. A Watcher is told its digest by Done.
	Final bool
	// Plain opens the layer's plain tar as the source holds it, from the start,
	// for a second pass.
	Plain func(ctx context.Context) (io.ReadCloser, error)
	// PlainOf does the same for any other layer (one of Parents).
	PlainOf func(ctx context.Context, l Layer) (io.ReadCloser, error)
	// Note tells the user what the filter did ("12 entries excluded").
	Note func(message string)
}
