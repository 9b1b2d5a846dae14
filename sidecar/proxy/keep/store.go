package keep

import (
	"context"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// A Space is a part of a store; *store.Space is one.
type Space interface{ Backend() registry.Backend }

// Store keeps images in a part of the proxy's own store.
func Store(s Space) Keeper { return kept{s} }

type kept struct{ space Space }

var _ Keeper = kept{}

func (k kept) Sink(_ context.Context, repository string, tags []string) (pipeline.Sink, error) {
	return registry.NewSink(k.space.Backend(), repository, tags), nil
}

func (k kept) Backend() registry.Backend { return k.space.Backend() }
