package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// stockroom gives out layers of a daemon that images in it have, by its export:
// for a partial archive that goes where a load takes whole images only.
type stockroom struct {
	asking sync.Once                  // guards what look sets
	images map[digest.Digest][]string // by diff ID: who has it
	failed error

	mu      sync.Mutex
	wanted  map[string]int // how many layers that are asked for an image has
	exports map[string]*exported
}

// exported is an image that was taken out of the daemon, once.
type exported struct {
	once   sync.Once
	graph  pipeline.Graph
	layers map[digest.Digest]pipeline.Layer // by diff ID
	err    error
}

var (
	_ pipeline.Restocker = (*Sink)(nil)
	_ pipeline.Restocker = (*pullSink)(nil)
)

// Restock finds a layer among the daemon's images.
func (r *reception) Restock(ctx context.Context, diffID digest.Digest) (get func(context.Context) (pipeline.Layer, error), ok bool, err error) {
	s := &r.stock
	s.asking.Do(func() { s.images, s.failed = r.engine.owners(ctx) })
	if s.failed != nil || len(s.images[diffID]) == 0 {
		return nil, false, s.failed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted == nil {
		s.wanted = map[string]int{}
	}
	for _, id := range s.images[diffID] {
		s.wanted[id]++
	}
	return func(ctx context.Context) (pipeline.Layer, error) {
		err := fmt.Errorf("layer %s: %w", diffID, pipeline.ErrNotFound)
		for _, id := range s.owners(diffID) {
			e := s.export(ctx, r.target, id)
			if l, ok := e.layers[diffID]; ok {
				return l, nil
			}
			err = errors.Join(err, e.err)
		}
		return pipeline.Layer{}, fmt.Errorf("take it from another image of the daemon: %w", err)
	}, true, nil
}

// owners are the images that have a layer; those with most of what is asked for
// come first, so that few are taken out.
func (s *stockroom) owners(diffID digest.Digest) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := slices.Clone(s.images[diffID])
	slices.SortStableFunc(ids, func(a, b string) int { return s.wanted[b] - s.wanted[a] })
	return ids
}

// owners are the images that have a layer, by diff IDs.
func (e *engine) owners(ctx context.Context) (map[digest.Digest][]string, error) {
	listed, err := imagesOf(ctx, e.cli, client.ImageListOptions{})
	if err != nil {
		return nil, err
	}
	out := map[digest.Digest][]string{}
	for _, i := range listed {
		found, err := e.cli.ImageInspect(ctx, i.ID)
		if ctx.Err() != nil {
			return nil, explain(ctx, e.cli, "look at image "+i.ID, err)
		}
		if err != nil {
			continue // it went meanwhile, or its content is not there
		}
		for _, l := range found.RootFS.Layers {
			out[digest.Digest(l)] = append(out[digest.Digest(l)], i.ID)
		}
	}
	return out, nil
}

// export takes an image out, once; its layers lie in a temporary file then.
func (s *stockroom) export(ctx context.Context, t Target, id string) *exported {
	s.mu.Lock()
	if s.exports == nil {
		s.exports = map[string]*exported{}
	}
	e := s.exports[id]
	if e == nil {
		e = &exported{}
		s.exports[id] = e
	}
	s.mu.Unlock()
	e.once.Do(func() { e.err = e.take(context.WithoutCancel(ctx), t, id) })
	return e
}

func (e *exported) take(ctx context.Context, t Target, id string) (err error) {
	t.Images = []Reference{{Ask: id}}
	e.layers = map[digest.Digest]pipeline.Layer{}
	if e.graph, err = (&Source{t}).Open(ctx, pipeline.Query{Below: true}); err != nil {
		return err
	}
	for l, err := range e.graph.Layers(ctx) {
		if err != nil {
			return err
		}
		if l.DiffID != "" && l.Role == pipeline.FileSystem && l.Foreign == "" {
			e.layers[l.DiffID] = l
		}
	}
	return nil
}

// close gives the temporary files back.
func (s *stockroom) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, e := range s.exports {
		if e.graph != nil {
			errs = append(errs, e.graph.Close())
		}
	}
	s.exports = nil
	return errors.Join(errs...)
}
