// Package builtin is the one list of what we ship: the schemes and the filters
// that every face of occystrap offers. Nothing registers itself anywhere else.
//
//	cli-plugin, sidecar ─▶ builtin ─▶ scheme/remote, scheme/tarball, scheme/daemon, scheme/dir
//	                           └────▶ filter
//
// What needs containerd's own packages lives in plugin/ and is handed to
// Schemes by the main that links it.
package builtin

import (
	"context"
	"io"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
	"github.com/occystrap/occystrap/pipeline/scheme/dir"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// Config sets up the schemes and the filters. The zero value works, without
// logins and with the daemon that DOCKER_HOST names.
type Config struct {
	Remote  remote.Config
	Tarball tarball.Config
	Daemon  daemon.Config
	Dir     dir.Config
	Filter  filter.Defaults
}

// Schemes returns the places that images can live in: those of this package,
// then extra. Nothing is opened or dialled.
func Schemes(cfg Config, extra ...pipeline.Scheme) pipeline.Schemes {
	return append(pipeline.Schemes{
		remote.Scheme(cfg.Remote),
		tarball.Scheme(cfg.Tarball),
		daemon.Scheme(cfg.Daemon),
		dir.Scheme(cfg.Dir),
	}, extra...)
}

// Elsewhere opens the registry that an image's name tells, for the images of an
// index that the source lists and does not hold (pipeline.MissingFetch).
func Elsewhere(cfg Config) func(ctx context.Context, name string) (pipeline.Content, error) {
	return func(ctx context.Context, name string) (pipeline.Content, error) {
		return remote.OpenContent(ctx, cfg.Remote, name)
	}
}

// OpenURL opens the URL of a foreign layer, for pipeline.ForeignFetch.
func OpenURL(cfg Config) func(ctx context.Context, url string) (io.ReadCloser, error) {
	connect := sync.OnceValues(func() (func(context.Context, string) (io.ReadCloser, error), error) {
		return remote.OpenURL(cfg.Remote)
	})
	return func(ctx context.Context, url string) (io.ReadCloser, error) {
		open, err := connect()
		if err != nil {
			return nil, err
		}
		return open(ctx, url)
	}
}

// Filters returns what can change an image on its way.
func Filters(cfg Config) pipeline.FilterKinds {
	return filter.Kinds(cfg.Filter)
}
