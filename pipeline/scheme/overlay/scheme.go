package overlay

import (
	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/runtimespec"
	"github.com/occystrap/occystrap/pipeline/scheme/dir"
)

// Config is what the scheme takes from the program. The zero value works.
type Config struct {
	// Events receives what the user should know.
	Events pipeline.Events
	// Limits bound what a hostile layer may make us write.
	Limits pipeline.Limits

	ways []way // for tests: how to mount; nil for all that there are
}

// Scheme is mounts://DIR. As a source it is dir://DIR: the image as it came,
// without what was changed in the mounted tree.
func Scheme(cfg Config) pipeline.Scheme {
	return pipeline.Scheme{
		Name: "mounts",
		Options: []pipeline.Option{
			{Name: "image", Source: true, Help: "the image of the directory to take: a name, a digest, or all (default)"},
			pipeline.RecompressOption,
		},
		Source: dir.Scheme(dir.Config{Events: cfg.Events, Limits: cfg.Limits}).Source,
		Sink:   func(loc pipeline.Location) (pipeline.Sink, error) { return newSink(loc, cfg) },
	}
}

// The names beside those of the plain layout; the Python tool's.
const (
	mountPoint      = runtimespec.RootFS
	deltaName       = "delta"
	workingName     = "working"
	containerConfig = "container-config.json"
	runtimeConfig   = runtimespec.Config
)
