package pipeline

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Arriving is the Graph of a source that gets to see layers before the manifests
// which list them: an export, or a push.
//
//	Announce, Announce …, End ─▶ Layers (role Unknown, at once) ─▶ resolve ─▶ the rest
//
// Who receives calls Announce and End, from any goroutine, and never waits for
// who ranges over Layers.
type Arriving struct {
	resolve func(ctx context.Context) (Graph, error)

	mu    sync.Mutex
	early []Layer       // announced so far
	more  chan struct{} // closed when there is news; nil: nobody waits
	ended bool
	err   error
	inner Graph // once all is known
}

var _ Graph = (*Arriving)(nil)

// NewArriving returns a graph of what is yet to come; resolve is called once all
// has, and gives the graph of the manifests.
func NewArriving(resolve func(ctx context.Context) (Graph, error)) *Arriving {
	return &Arriving{resolve: resolve}
}

// Announce hands a layer to Layers, whose manifest is not known yet. Its blob is
// one that a manifest will list: that is for the source to judge.
func (a *Arriving) Announce(l Layer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l.Role = Unknown
	a.early = append(a.early, l)
	a.wake()
}

// End says that no more will come: err is nil at a good end. The first End
// counts.
func (a *Arriving) End(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.ended, a.err = true, err
		a.wake()
	}
}

// wake is called with the lock held.
func (a *Arriving) wake() {
	if a.more != nil {
		close(a.more)
		a.more = nil
	}
}

// next returns what was announced behind the first n layers, and waits for it.
// None: all has come.
func (a *Arriving) next(ctx context.Context, n int) ([]Layer, error) {
	for {
		a.mu.Lock()
		fresh, ended, err := a.early[n:len(a.early):len(a.early)], a.ended, a.err
		if a.more == nil {
			a.more = make(chan struct{})
		}
		more := a.more
		a.mu.Unlock()
		switch {
		case len(fresh) > 0:
			return fresh, nil
		case ended:
			return nil, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Layers yields what is announced, with the role Unknown, and once all has come
// the layers that were not.
func (a *Arriving) Layers(ctx context.Context) iter.Seq2[Layer, error] {
	return func(yield func(Layer, error) bool) {
		seen := map[digest.Digest]bool{}
		for n := 0; ; {
			fresh, err := a.next(ctx, n)
			if err != nil {
				yield(Layer{}, err)
				return
			}
			if len(fresh) == 0 {
				break
			}
			for _, l := range fresh {
				seen[l.Blob.Digest] = true
				if !yield(l, nil) {
					return
				}
			}
			n += len(fresh)
		}
		inner, err := a.graph(ctx)
		if err != nil {
			yield(Layer{}, err)
			return
		}
		for l, err := range inner.Layers(ctx) {
			if err == nil && seen[l.Blob.Digest] {
				continue
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// graph resolves the manifests, once.
func (a *Arriving) graph(ctx context.Context) (Graph, error) {
	if inner := a.resolved(); inner != nil {
		return inner, nil
	}
	inner, err := a.resolve(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inner = inner
	return inner, nil
}

func (a *Arriving) resolved() Graph {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inner
}

// Manifests yields the manifests, after Layers has ended.
func (a *Arriving) Manifests(ctx context.Context) iter.Seq2[Manifest, error] {
	if inner := a.resolved(); inner != nil {
		return inner.Manifests(ctx)
	}
	return func(yield func(Manifest, error) bool) {
		yield(Manifest{}, errors.New("the manifests are not known before the layers were listed"))
	}
}

// Close closes the graph of the manifests. What still comes is the source's to
// end.
func (a *Arriving) Close() error {
	a.End(errors.New("the graph is closed"))
	if inner := a.resolved(); inner != nil {
		return inner.Close()
	}
	return nil
}
