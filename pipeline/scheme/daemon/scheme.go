package daemon

import (
	"context"
	"strings"

	"github.com/moby/moby/client"

	"github.com/occystrap/occystrap/pipeline"
)

// Config says how daemons are reached. The zero value works.
type Config struct {
	// Client connects to the daemon that the user's Docker context or
	// DOCKER_HOST names; the scheme closes what it returns. Nil reads DOCKER_HOST
	// and its like, and falls back to the local socket. A location with
	// ?socket= does not ask it.
	Client func(ctx context.Context) (client.APIClient, error)
	// TempDir holds temporary files; "" is the system's.
	TempDir string
	// Events receives what the user should know; nil discards.
	Events pipeline.Events
}

// SchemeName is the scheme of daemon locations.
const SchemeName = "docker"

// Scheme is docker://NAME[:TAG|@DIGEST] or docker://ID: images in a daemon. As a
// destination the name may be left out, to keep the names of the source.
func Scheme(cfg Config) pipeline.Scheme {
	return pipeline.Scheme{
		Name: SchemeName,
		Options: []pipeline.Option{
			{Name: "socket", Source: true, Sink: true, Help: "the daemon's socket: a path, unix://PATH or tcp://HOST:PORT"},
			{Name: "lane", Source: true, Sink: true, Help: "force a way out of (save) or into (load) the daemon"},
			{Name: "also", Source: true, Help: "further images to carry in the same run, separated by commas"},
			pipeline.RecompressOption,
		},
		Source: cfg.source,
		Sink:   cfg.sink,
	}
}

func (c Config) source(loc pipeline.Location) (pipeline.Source, error) {
	t, err := c.target(loc)
	if err != nil {
		return nil, err
	}
	if len(t.Images) == 0 {
		return nil, pipeline.Usage("docker:// as a source needs an image: write docker://NAME[:TAG]")
	}
	for name := range strings.SplitSeq(loc.Query["also"], ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		ref, err := ParseReference(name)
		if err != nil {
			return nil, err
		}
		t.Images = append(t.Images, ref)
	}
	lane, err := choose(loc.Query["lane"], pipeline.SourceSide)
	if err != nil {
		return nil, err
	}
	return lane.Source(t), nil
}

func (c Config) sink(loc pipeline.Location) (pipeline.Sink, error) {
	t, err := c.target(loc)
	if err != nil {
		return nil, err
	}
	if len(t.Images) > 0 && t.Images[0].Name == "" {
		return nil, pipeline.Usage("docker://%s cannot be a destination: an ID or digest follows from the content; write docker://NAME[:TAG]", t.Images[0])
	}
	if t.Recompress, err = loc.Recompress(); err != nil {
		return nil, err
	}
	lane, err := choose(loc.Query["lane"], pipeline.SinkSide)
	if err != nil {
		return nil, err
	}
	return lane.Sink(t), nil
}

// target reads what both ends have in common.
func (c Config) target(loc pipeline.Location) (Target, error) {
	t := Target{Connect: c.Client, TempDir: c.TempDir, Events: c.Events}
	if loc.User != nil {
		return t, pipeline.Usage("docker:// takes no user or password: the daemon asks for none; write docker://NAME[:TAG]")
	}
	socket, given := loc.Query["socket"]
	switch {
	case given:
		host, err := socketHost(socket)
		if err != nil {
			return t, err
		}
		t.Connect = connectTo(host)
	case t.Connect == nil:
		t.Connect = connectFromEnv
	}
	name := loc.Host + loc.Path
	if loc.Host == "" {
		name = strings.TrimPrefix(loc.Path, "/")
	}
	if name == "" {
		return t, nil
	}
	ref, err := ParseReference(name)
	if err != nil {
		return t, err
	}
	t.Images = []Reference{ref}
	return t, nil
}
