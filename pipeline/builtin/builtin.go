// Package builtin is the one list of what we ship: the schemes and the filters
// that every face of occystrap offers. Nothing registers itself anywhere else.
//
//	cli-plugin, sidecar ─▶ builtin ─▶ scheme/{remote,tarball,daemon,dir,bundle,overlay}
//	                           └────▶ filter
//
// What needs containerd's own packages lives in plugin/ and is handed to
// Schemes by the main that links it.
package builtin

import (
	"context"
	"io"
	"strings"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/scheme/bundle"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
	"github.com/occystrap/occystrap/pipeline/scheme/dir"
	"github.com/occystrap/occystrap/pipeline/scheme/overlay"
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
	Bundle  bundle.Config
	Overlay overlay.Config
	Filter  filter.Defaults
	// Others finds the logins at registries that neither end of a run names, but
	// the images do: in their names and annotations, which anybody may have
	// written. So it must not give away what is meant for the ends. Nil is
	// anonymous.
	Others credential.Keychain
}

// others is the configuration for registries that neither end names.
func (c Config) others() remote.Config {
	r := c.Remote
	r.Source, r.Sink = c.Others, nil
	return r
}

// Schemes returns the places that images can live in: those of this package,
// then extra. Nothing is opened or dialled.
func Schemes(cfg Config, extra ...pipeline.Scheme) pipeline.Schemes {
	return append(pipeline.Schemes{
		remote.Scheme(cfg.Remote),
		tarball.Scheme(cfg.Tarball),
		daemon.Scheme(cfg.Daemon),
		daemon.PushScheme(cfg.Daemon),
		dir.Scheme(cfg.Dir),
		bundle.Scheme(cfg.Bundle),
		overlay.Scheme(cfg.Overlay),
	}, extra...)
}

// Elsewhere opens the registry that an image's name tells, for the images of an
// index that the source lists and does not hold (pipeline.MissingFetch).
func Elsewhere(cfg Config) func(ctx context.Context, name string) (pipeline.Content, error) {
	return func(ctx context.Context, name string) (pipeline.Content, error) {
		return remote.OpenContent(ctx, cfg.others(), name)
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

// Filters returns what can change an image on its way. Filters that look at other
// images find them in the places of Schemes(cfg, extra…).
func Filters(cfg Config, extra ...pipeline.Scheme) pipeline.FilterKinds {
	if cfg.Filter.Images == nil {
		cfg.Filter.Images = images(cfg, extra)
	}
	return filter.Kinds(cfg.Filter)
}

// images reads the manifests of an image that a URI names, or a name in a
// registry as Docker's users write it.
func images(cfg Config, extra []pipeline.Scheme) func(context.Context, string, pipeline.Query) ([]pipeline.Manifest, error) {
	cfg.Remote = cfg.others()
	return func(ctx context.Context, ref string, q pipeline.Query) ([]pipeline.Manifest, error) {
		if !strings.Contains(ref, "://") {
			name, err := remote.ParseName(ref)
			if err != nil {
				return nil, err
			}
			ref = "registry://" + name.Full()
		}
		src, err := Schemes(cfg, extra...).Source(ref)
		if err != nil {
			return nil, err
		}
		return pipeline.ReadManifests(ctx, src, q)
	}
}
