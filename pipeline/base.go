package pipeline

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// A BaseFinder is a LayerFilter that does not treat the layers of an image's base
// like the others: its handlers find Layer.Base set for them. Its Recipe has
// Below set, since the same layer may be another image's own.
type BaseFinder interface {
	LayerFilter
	// Bases says what the base of each image is, by the digest of the image's
	// manifest as the source has it; an image may have none. It is called once,
	// before the first layer, with all manifests, children before parents.
	Bases(ctx context.Context, manifests []Manifest) (map[digest.Digest]Base, error)
}

// A Base is the lower part of an image that another image has made.
type Base struct {
	// Layers is how many of the lowest layers belong to it.
	Layers int
	// Name says what it is, for notes to the user.
	Name string
}

// based tells the layers of a graph whether they belong to a base, where a
// filter wants to know. A layer that is base in one image and not in another is
// yielded for both.
func (r *run) based(ctx context.Context, graph Graph) (Graph, error) {
	finder, err := r.baseFinder()
	if finder == nil || err != nil {
		return graph, err
	}
	l, err := listGraph(ctx, graph)
	if err != nil {
		return graph, err
	}
	if r.bases, err = finder.Bases(ctx, l.manifests); err != nil {
		return graph, on(FilterSide, err)
	}
	var layers []Layer
	seen := map[layerKey]bool{}
	for _, m := range l.manifests {
		uses, image, err := l.uses(m, r.opts.Query)
		if err != nil {
			return graph, err
		}
		base := r.bases[m.Desc.Digest]
		for i, use := range uses {
			if image && i < base.Layers {
				use.Base = base.Name
			}
			if k := keyOf(use, r.below); !seen[k] {
				seen[k] = true
				layers = append(layers, use)
			}
		}
	}
	return l.graph(layers, graph.Close), nil
}

func (r *run) baseFinder() (finder BaseFinder, err error) {
	for _, f := range r.chain {
		f, ok := f.(BaseFinder)
		switch {
		case !ok:
		case finder != nil:
			return nil, Usage("two filters ask for the base image; give base= to one of them")
		default:
			finder = f
		}
	}
	return finder, nil
}
