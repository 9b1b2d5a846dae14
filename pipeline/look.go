package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// Look shows the layers that src names to the filters, and sends them nowhere.
// It reads layers in parallel, each once, and goes on where one cannot be read;
// the error then says which. Filters that are Finishers have their say before
// Look returns.
func Look(ctx context.Context, src Source, filters []Filter, opts Options) error {
	if err := choose(filters, &opts); err != nil {
		return err
	}
	r := newRun(filters, nil, opts)
	r.opts.Below = r.below
	q := r.opts.Query
	q.looks = true
	graph, err := src.Open(ctx, q)
	if err != nil {
		return on(SourceSide, err)
	}
	err = r.look(ctx, graph)
	if cerr := graph.Close(); err == nil && cerr != nil {
		return on(SourceSide, cerr)
	}
	return err
}

// look is Look upon an open graph.
func (r *run) look(ctx context.Context, graph Graph) error {
	if err := r.watchKnown(graph); err != nil {
		return err
	}
	unread, err := r.lookAtLayers(ctx, graph)
	if err != nil {
		return err
	}
	var manifests []Manifest
	for m, err := range graph.Manifests(ctx) {
		if err != nil {
			return on(SourceSide, err)
		}
		manifests = append(manifests, m)
	}
	if err := r.watchImages(manifests); err != nil {
		return err
	}
	if err := r.finish(ctx, manifests); err != nil {
		return err
	}
	return r.unreadable(manifests, unread)
}

// watchKnown tells the watchers of the images where the source knows them from
// the start.
func (r *run) watchKnown(graph Graph) error {
	g, known := graph.(*resolved)
	if !known {
		return nil
	}
	var manifests []Manifest
	for _, n := range g.nodes {
		manifests = append(manifests, n.Manifest)
	}
	return r.watchImages(manifests)
}

// lookAtLayers looks at every layer in the order of the source, which is that
// of the results, and returns why some could not be read.
func (r *run) lookAtLayers(ctx context.Context, graph Graph) (map[layerKey]error, error) {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Parallel)
	unread := map[layerKey]error{}
	var failed error
	for l, err := range graph.Layers(gctx) {
		if err != nil {
			failed = on(SourceSide, err)
			break
		}
		k := keyOf(l, r.below)
		if _, seen := r.outcomes[k]; seen || l.Role == Opaque {
			continue
		}
		if gctx.Err() != nil {
			break
		}
		r.outcomes[k] = nil
		group.Go(func() error {
			o, err := r.layer(gctx, 0, l)
			if gctx.Err() != nil {
				return gctx.Err()
			}
			if err != nil {
				r.mu.Lock()
				unread[k] = err
				r.mu.Unlock()
			}
			return r.watchDone(l, o, err)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return unread, errors.Join(failed, ctx.Err())
}

// unreadable is why layers of images could not be read, in the order of the
// images. A blob that came before its manifest may be no layer at all.
func (r *run) unreadable(manifests []Manifest, unread map[layerKey]error) error {
	if len(unread) == 0 {
		return nil
	}
	images, err := r.imageLayers(manifests)
	if err != nil {
		return on(SourceSide, err)
	}
	var errs []error
	for _, image := range images {
		for _, l := range image.Layers {
			errs = append(errs, unread[l.ID.key])
			delete(unread, l.ID.key)
		}
	}
	return errors.Join(errs...)
}

// onlyLook opens the layer and shows it to the filters.
func (t *transfer) onlyLook(ctx context.Context) error {
	chain, err := t.build(ctx, nowhere{})
	if err != nil {
		return err
	}
	if chain == tarstream.Handler(nowhere{}) {
		return nil
	}
	t.run.opts.Events.emit(Event{Kind: EventLayerStart, Layer: t.layer.Blob.Digest, Total: t.layer.Blob.Size})
	raw, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	plain, came, err := codec.NewReader(raw)
	if err != nil {
		return on(SourceSide, orDigest(raw, err))
	}
	defer plain.Close()
	limited := t.limited(plain)
	if err := t.read(limited, chain); err != nil {
		return orDigest(raw, err)
	}
	t.out.How = HowRead
	t.run.watchStored(t.layer, Stored{Compression: came, Members: codec.Members(plain), Plain: limited.limit - limited.left})
	_, err = io.Copy(io.Discard, raw) // the digest counts at the end
	return err
}

// orDigest is why the bytes of a layer make no sense: they may not be those that
// were promised.
func orDigest(raw io.Reader, err error) error {
	var side *Error
	if errors.As(err, &side) && side.Side == FilterSide || errors.Is(err, ErrLimit) {
		return err
	}
	_, derr := io.Copy(io.Discard, raw)
	switch {
	case errors.Is(derr, ErrDigest), mayPass(derr):
		return on(SourceSide, derr)
	case errors.Is(derr, io.ErrUnexpectedEOF):
		return on(SourceSide, fmt.Errorf("%w: %w", ErrDigest, derr))
	}
	return err
}

// nowhere is the end of a chain that is only looked through.
type nowhere struct{}

var _ tarstream.Handler = nowhere{}

func (nowhere) Entry(*tarstream.Entry) error { return nil }
func (nowhere) End(io.Reader) error          { return nil }
