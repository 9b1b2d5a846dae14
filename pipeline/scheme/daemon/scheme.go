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
	// Host is the address of Client's daemon as the user knows it; nil is the
	// client's own, which is not one where it comes by ssh.
	Host func() string
	// Connect connects to a daemon that a location names by ?host= or ?context=; the
	// scheme closes the client. Nil: only unix:// and tcp:// are known.
	Connect func(ctx context.Context, at At) (Connection, error)
	// Forward makes a port of ours (127.0.0.1:PORT) reachable on the machine of an
	// ssh:// host, at the address that it returns, until closing is called. Nil: there
	// is no such way.
	Forward func(ctx context.Context, host, localAddr string) (addr string, closing func() error, err error)
	// Lanes are ways in and out beyond those of the Engine API.
	Lanes []Lane
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
			{Name: "host", Source: true, Sink: true, Help: "the daemon's address: ssh://USER@HOST, tcp://HOST:PORT or unix://PATH"},
			{Name: "context", Source: true, Sink: true, Help: "the Docker context of the daemon"},
			{Name: "lane", Source: true, Sink: true, Help: "force a way out of (content, layers, push, save) or into (content, pull, load) the daemon"},
			{Name: "also", Source: true, Help: "further images to carry in the same run, separated by commas"},
			pipeline.RecompressOption,
		},
		Source: cfg.source,
		Sink:   cfg.sink,
		Inventor: func(loc pipeline.Location) (pipeline.Inventor, error) {
			e, err := cfg.end(loc, pipeline.SinkSide)
			return &stock{e}, err
		},
	}
}

func (c Config) source(loc pipeline.Location) (pipeline.Source, error) {
	e, err := c.end(loc, pipeline.SourceSide)
	if err != nil {
		return nil, err
	}
	if len(e.target.Images) == 0 {
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
		e.target.Images = append(e.target.Images, ref)
	}
	return &chooser{e}, nil
}

func (c Config) sink(loc pipeline.Location) (pipeline.Sink, error) {
	e, err := c.end(loc, pipeline.SinkSide)
	if err != nil {
		return nil, err
	}
	if len(e.target.Images) > 0 && e.target.Images[0].Name == "" {
		return nil, pipeline.Usage("docker://%s cannot be a destination: an ID or digest follows from the content; write docker://NAME[:TAG]", e.target.Images[0])
	}
	if e.target.Recompress, err = loc.Recompress(); err != nil {
		return nil, err
	}
	return &receiver{end: e}, nil
}

// end reads what both ends have in common.
func (c Config) end(loc pipeline.Location, side pipeline.Side) (end, error) {
	e := end{config: c, side: side, forced: loc.Query["lane"], target: Target{TempDir: c.TempDir, Events: c.Events}}
	if loc.User != nil {
		return e, pipeline.Usage("docker:// takes no user or password: the daemon asks for none; write docker://NAME[:TAG]")
	}
	if err := c.forcible(e.forced, side); err != nil {
		return e, err
	}
	var err error
	if e.at, err = at(loc); err != nil {
		return e, err
	}
	name := loc.Host + loc.Path
	if loc.Host == "" {
		name = strings.TrimPrefix(loc.Path, "/")
	}
	if name == "" {
		return e, nil
	}
	ref, err := ParseReference(name)
	if err != nil {
		return e, err
	}
	e.target.Images = []Reference{ref}
	return e, nil
}
