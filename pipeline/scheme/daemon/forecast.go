package daemon

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// A forecast is what a daemon would not ask for in a pull, as far as its images
// tell: which blobs it has it does not say, so a layer that an image has upon the
// same layers counts as there.
type forecast struct {
	once   sync.Once
	chains map[digest.Digest]bool
}

// Foresee makes the sink ask the daemon for its images, and open no desk.
func (s *pullSink) Foresee() { s.forecast = &forecast{} }

func (f *forecast) holds(ctx context.Context, e *engine, want []Reference, l pipeline.Layer) bool {
	f.once.Do(func() {
		if chains, err := e.chains(ctx, want); err == nil {
			f.chains = chains
		}
	})
	chain := l.ChainID()
	return chain != "" && f.chains[chain]
}
