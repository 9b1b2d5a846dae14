package push

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// A settling is what has become of blobs before their manifest came.
type settling struct {
	in, out int64                  // bytes that came, and that were sent on
	held    map[digest.Digest]bool // those that the keeper has for certain, as they came
}

// settle waits for what is on its way of some blobs, so that the run of their manifest
// finds it there. What has not begun leaves its place to the run.
func (p *Push) settle(ctx context.Context, repository string, blobs []digest.Digest) (s settling, err error) {
	s.held = map[digest.Digest]bool{}
	for _, d := range blobs {
		if err := p.alone(ctx, p.same(repository, d), nil); err != nil {
			return s, err
		}
		k := place{repository, d}
		p.mu.Lock()
		a := p.came[k]
		p.mu.Unlock()
		if a == nil {
			continue
		}
		if err := a.settled(ctx); err != nil {
			return s, err
		}
		a.mu.Lock()
		s.in += a.blob.Size
		if how := a.sent.How; how != "" && how != pipeline.HowHeld && how != pipeline.HowCached {
			s.out += a.sent.Result.Size
		}
		s.held[d] = a.sent.Result.Digest == d
		a.mu.Unlock()
		p.mu.Lock()
		if p.came[k] == a {
			delete(p.came, k)
		}
		p.mu.Unlock()
	}
	return s, nil
}

// settled waits for what is at work on an arrival, or keeps it from beginning.
func (a *arrival) settled(ctx context.Context) error {
	a.mu.Lock()
	if !a.begun || a.cancel != nil { // it has no place yet
		a.claimed, a.begun = true, true
		if a.cancel != nil {
			a.cancel()
		}
		a.mu.Unlock()
		return nil
	}
	claimed := a.claimed
	a.mu.Unlock()
	if claimed {
		return nil
	}
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
