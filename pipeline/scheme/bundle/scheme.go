package bundle

import (
	"os"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/runtimespec"
)

// Config is what the sink takes from the program. The zero value works.
type Config struct {
	// Events receives what a user of the sink should know.
	Events pipeline.Events
	// Limits bound what a hostile image may make us write.
	Limits pipeline.Limits
	// TempDir holds the layers until they are unpacked; "" is the bundle's own
	// directory, where the kernel can copy without reading.
	TempDir string
}

// The values of ?volumes=.
const (
	volumesAnnotation = "annotation"
	volumesTmpfs      = "tmpfs"
)

// Scheme is oci://DIR, a destination.
func Scheme(cfg Config) pipeline.Scheme {
	return pipeline.Scheme{
		Name: "oci",
		Options: []pipeline.Option{
			{Name: "rootless", Sink: true, Help: "true: a bundle that the user who runs this can start, in a user namespace (default for all but root); false: one for root"},
			{Name: "volumes", Sink: true, Help: "annotation (default): the image's volumes are named, and written like all else; tmpfs: each is a file system in memory, filled from the image"},
			pipeline.RecompressOption,
		},
		Sink: func(loc pipeline.Location) (pipeline.Sink, error) { return newSink(loc, cfg) },
	}
}

// optionsOf reads what a location says of config.json.
func optionsOf(loc pipeline.Location) (o runtimespec.Options, err error) {
	rootless, said, err := loc.Bool("rootless")
	if err != nil {
		return o, err
	}
	o.Rootless, o.UID, o.GID = os.Geteuid() > 0, os.Geteuid(), os.Getegid()
	if said {
		o.Rootless = rootless
	}
	switch v := loc.Query["volumes"]; v {
	case "", volumesAnnotation:
	case volumesTmpfs:
		o.Tmpfs = true
	default:
		return o, pipeline.Usage("oci:// option volumes is %q; it takes %s or %s", v, volumesAnnotation, volumesTmpfs)
	}
	return o, nil
}
