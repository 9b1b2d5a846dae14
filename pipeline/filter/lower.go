package filter

import (
	"context"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// lower is what exclude leaves, in the layers below one, where it removes what
// is above it: a file, or the whiteout of a directory. There it would come back.
type lower struct {
	unseen bool   // a layer below cannot be looked at: all may come back
	layers []keys // see keptIn; those that hold some
	none   bool   // there is no layer below
}

// comesBack says whether something below a place does when nothing hides it any
// more. A whiteout too many hides nothing, so doubts count as yes.
func (l *lower) comesBack(g *globs, at string) bool {
	switch {
	case l.none:
		return false
	case l.unseen, !g.match(at): // removed by its spelling: keptIn looks at places
		return true
	}
	k := keyOf(at)
	for _, kept := range l.layers {
		if kept.has(k) {
			return true
		}
	}
	return false
}

// below looks at the layers below one.
func (x *exclude) below(ctx context.Context, l pipeline.LayerInfo) (*lower, error) {
	low := &lower{unseen: l.Role == pipeline.Unknown}
	low.none = !low.unseen && len(l.Parents) == 0
	for _, parent := range l.Parents {
		low.unseen = low.unseen || !readable(parent)
	}
	if low.unseen {
		return low, nil
	}
	for _, parent := range l.Parents {
		kept, err := x.kept.in(ctx, x.patterns, l, parent)
		if err != nil {
			return nil, err
		}
		if len(kept) > 0 {
			low.layers = append(low.layers, kept)
		}
	}
	return low, nil
}

// kept remembers, for each layer, the directories that match while something
// below them does not: mostly none.
type kept struct {
	mu     sync.Mutex
	layers map[digest.Digest]keys
	scans  singleflight.Group
}

// in finds them in a parent, once for all layers that stand on it.
func (k *kept) in(ctx context.Context, g *globs, l pipeline.LayerInfo, parent pipeline.Layer) (keys, error) {
	d := parent.Blob.Digest
	k.mu.Lock()
	dirs, ok := k.layers[d]
	k.mu.Unlock()
	if ok {
		return dirs, nil
	}
	find := func() (any, error) { return keptIn(g, plainOf(ctx, l, parent)) }
	found, err, shared := k.scans.Do(d.String(), find)
	if err != nil && shared { // perhaps only the other one was canceled
		found, err = find()
	}
	if err != nil {
		return nil, fmt.Errorf("look for what comes back from layer %s: %w", d, err)
	}
	dirs = found.(keys)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.layers[d] = dirs
	return dirs, nil
}

// keptIn returns the places in a layer that match while something below them
// does not.
func keptIn(g *globs, open opener) (keys, error) {
	dirs := keys{}
	seen := "" // the directory whose ancestors were looked at last
	err := scan(open, func(e *tarstream.Entry) error {
		name := e.Header().Name
		at := place(name)
		dir := parentOf(at)
		if dir == seen || len(at) > maxPath {
			return nil
		}
		if v, _ := g.judge(name); v == goes {
			return nil
		}
		seen = dir
		for ; dir != ""; dir = parentOf(dir) {
			if g.match(dir) {
				dirs[keyOf(dir)] = struct{}{}
			}
		}
		return nil
	})
	return dirs, err
}
