package layers

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
	"github.com/occystrap/occystrap/plugin/graphdriver"
)

// A source is images of a daemon.
type source struct {
	lane   Lane
	target daemon.Target
}

var _ pipeline.Source = (*source)(nil)

// Open finds the images. It is daemon.Unfit where the files do not have what the
// daemon says; a damaged config is an error, lest another lane hide it.
func (s *source) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	depot, _, err := s.lane.open(ctx, s.target.Place)
	if err != nil {
		return nil, daemon.Unfit(err)
	}
	g, err := s.open(ctx, depot, q)
	if err != nil {
		return nil, errors.Join(err, depot.Close())
	}
	return g, nil
}

func (s *source) open(ctx context.Context, depot graphdriver.Depot, q pipeline.Query) (pipeline.Graph, error) {
	c := &content{depot: depot, small: map[digest.Digest][]byte{}, layers: map[digest.Digest]digest.Digest{}}
	var roots []pipeline.Root
	for _, ref := range s.target.Images {
		found, err := s.target.Place.Find(ctx, ref)
		if err != nil {
			return nil, err
		}
		desc, err := c.add(ctx, found.ID)
		switch {
		case err == nil:
		case ctx.Err() != nil, errors.Is(err, pipeline.ErrDigest):
			return nil, fmt.Errorf("%s: %w", ref.Ask, err)
		default:
			return nil, daemon.Unfit(fmt.Errorf("%s: %w", ref.Ask, err))
		}
		roots = append(roots, pipeline.Root{Desc: desc, Names: found.Names})
	}
	return pipeline.Resolve(ctx, c, roots, q, pipeline.ResolveOptions{}, depot.Close)
}
