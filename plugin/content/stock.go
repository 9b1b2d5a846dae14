package content

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// stock lists the layers that the images of a namespace have in the content
// store.
type stock struct{ at place }

var (
	_ pipeline.Inventor = stock{}
	_ pipeline.Inventor = (*sink)(nil)
	_ daemon.Stocktaker = lane{}
)

// Holdings are the layers of all images. That there is no such namespace is an
// error.
func (s stock) Holdings(ctx context.Context, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	return func(yield func(pipeline.Holding, error) bool) {
		st, err := s.at.connect(ctx)
		if err != nil {
			yield(pipeline.Holding{}, err)
			return
		}
		defer st.cli.Close()
		spaces, err := st.cli.NamespaceService().List(ctx)
		switch {
		case err != nil:
			err = s.at.explain(ctx, "list namespaces", err)
		case !slices.Contains(spaces, s.at.namespace):
			err = fmt.Errorf("no namespace %s in containerd at %s: %w", s.at.namespace, s.at.socket, pipeline.ErrNotFound)
		}
		if err != nil {
			yield(pipeline.Holding{}, err)
			return
		}
		st.holdings(ctx, limits)(yield)
	}
}

// Holdings are the layers of the images that are there before the run.
func (s *sink) Holdings(ctx context.Context, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	if err := s.begin(ctx); err != nil {
		return pipeline.NoHoldings(err)
	}
	return s.store.holdings(ctx, limits)
}

// Holdings are the layers in the content store of a daemon.
func (lane) Holdings(ctx context.Context, p *daemon.Place, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	at, err := placeOf(p)
	if err != nil {
		return pipeline.NoHoldings(err)
	}
	return stock{at}.Holdings(ctx, limits)
}

// holdings lists image by image; what lacks content is passed over.
func (s *store) holdings(ctx context.Context, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	return func(yield func(pipeline.Holding, error) bool) {
		all, err := s.cli.ImageService().List(s.in(ctx))
		if err != nil {
			yield(pipeline.Holding{}, s.explain(ctx, "list images", err))
			return
		}
		for _, i := range all {
			for h, err := range pipeline.HoldingsOf(ctx, rooted{s, rootOf(i)}, limits) {
				if errors.Is(err, pipeline.ErrNotFound) {
					break // its blobs were discarded, or it goes while it is looked at
				}
				if !yield(h, err) || err != nil {
					return
				}
			}
		}
	}
}

// rooted is one image as a source.
type rooted struct {
	*store
	root pipeline.Root
}

// Open reads the image's manifests.
func (r rooted) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	return pipeline.Resolve(ctx, &content{store: r.store, limits: q.Limits}, []pipeline.Root{r.root}, q, pipeline.ResolveOptions{}, nil)
}
