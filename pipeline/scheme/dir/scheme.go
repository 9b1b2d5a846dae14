package dir

import (
	"github.com/occystrap/occystrap/pipeline"
)

// Config is what the ends of the scheme take from the program. The zero value
// works.
type Config struct {
	// Events receives what a user of the sink should know. A source tells the
	// events of its query.
	Events pipeline.Events
	// Limits bound what a hostile layer may make expand=true write.
	Limits pipeline.Limits
}

// A format says how a directory is laid out.
type format string

// The formats; formatUnknown lets a source look, and is formatPlain for a sink.
const (
	formatUnknown format = ""
	formatPlain   format = "plain"
	formatOCI     format = "oci"
)

// Scheme is dir://DIR, with the alias directory://.
func Scheme(cfg Config) pipeline.Scheme {
	return pipeline.Scheme{
		Name:    "dir",
		Aliases: []string{"directory"},
		Options: []pipeline.Option{
			{Name: "format", Source: true, Sink: true, Help: "plain (HEX/layer.tar and manifest.json) or oci (an OCI image layout); a source looks, a destination is plain"},
			{Name: "image", Source: true, Help: "the image of the directory to take: a name, a digest, or all (default)"},
			{Name: "unique_names", Sink: true, Help: "true: a manifest file for each image, manifest-NAME-TAG.json"},
			{Name: "expand", Sink: true, Help: "true: also unpack the image's file system, into a directory named like the manifest; layers: and each layer by itself"},
			pipeline.RecompressOption,
		},
		Source: func(loc pipeline.Location) (pipeline.Source, error) {
			path, f, err := place(loc)
			if err != nil {
				return nil, err
			}
			return &source{path: path, format: f, image: loc.Query["image"]}, nil
		},
		Sink: func(loc pipeline.Location) (pipeline.Sink, error) { return newSink(loc, cfg, nothing{}) },
		Inventor: func(loc pipeline.Location) (pipeline.Inventor, error) {
			path, f, err := place(loc)
			if err != nil {
				return nil, err
			}
			return &stock{source{path: path, format: f}}, nil
		},
	}
}

// place reads what both ends of a location have: where, and how laid out.
func place(loc pipeline.Location) (path string, f format, err error) {
	if path, err = loc.FilePath(); err != nil {
		return "", "", err
	}
	switch f = format(loc.Query["format"]); f {
	case formatUnknown, formatPlain, formatOCI:
		return path, f, nil
	}
	return "", "", pipeline.Usage("dir:// option format is %q; it takes plain or oci", string(f))
}
