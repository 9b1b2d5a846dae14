package daemon

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// stock lists what a daemon has: a content store by its blobs, through a lane
// that reaches it; else chains of layers, as its images name them.
type stock struct{ end }

var _ pipeline.Inventor = (*stock)(nil)

// Holdings are the layers of all images of the daemon.
func (s *stock) Holdings(ctx context.Context, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	return func(yield func(pipeline.Holding, error) bool) {
		err := s.meet(ctx)
		if err != nil {
			yield(pipeline.Holding{}, err)
			_ = s.close() // it was only asked
			return
		}
		s.list(ctx, limits)(yield)
		_ = s.close()
	}
}

func (s *stock) list(ctx context.Context, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	p := s.target.Place
	if p.Store == StoreContainerd {
		for _, l := range s.config.Lanes {
			taker, ok := l.(Stocktaker)
			if !ok {
				continue
			}
			_, err := l.Fits(ctx, pipeline.SinkSide, p)
			if err == nil {
				return taker.Holdings(ctx, p, limits)
			}
			s.target.Events.Warn("the inventory has diff IDs and no digests of blobs: lane " + l.Name() + " does not work: " + err.Error())
		}
	}
	return p.chains(ctx)
}

// chains are the layers of all images, by the Engine API.
func (p *Place) chains(ctx context.Context) iter.Seq2[pipeline.Holding, error] {
	return func(yield func(pipeline.Holding, error) bool) {
		listed, err := imagesOf(ctx, p.Client, client.ImageListOptions{All: true})
		if err != nil {
			yield(pipeline.Holding{}, err)
			return
		}
		for _, i := range listed {
			found, err := p.Client.ImageInspect(ctx, i.ID)
			if err != nil {
				if ctx.Err() != nil {
					yield(pipeline.Holding{}, explain(ctx, p.Client, "look at image "+i.ID, err))
					return
				}
				continue // it went meanwhile, or its content is not there
			}
			var diffIDs []digest.Digest
			for _, l := range found.RootFS.Layers {
				diffIDs = append(diffIDs, digest.Digest(l))
			}
			for n, chain := range pipeline.ChainIDs(diffIDs) {
				if chain != "" && !yield(pipeline.Holding{DiffID: diffIDs[n], ChainID: chain}, nil) {
					return
				}
			}
		}
	}
}

const (
	// listTries is how often a list is asked for that a server's error ends: Podman
	// 4.3 makes none while one of the images goes.
	listTries = 100
	listPause = 200 * time.Millisecond
)

// imagesOf lists the images of a daemon.
func imagesOf(ctx context.Context, cli client.APIClient, opts client.ImageListOptions) ([]image.Summary, error) {
	for try := 1; ; try++ {
		listed, err := cli.ImageList(ctx, opts)
		if err == nil {
			return listed.Items, nil
		}
		if gone := strings.Contains(err.Error(), "image not known"); !gone || try == listTries {
			return nil, explain(ctx, cli, "list the images", err)
		}
		pause := time.NewTimer(listPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, explain(ctx, cli, "list the images", ctx.Err())
		}
	}
}
