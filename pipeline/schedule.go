package pipeline

import (
	"cmp"
	"context"
	"iter"
	"slices"
)

// inOrder is the order in which layers start. Where the sink does not care and
// the source knows all layers beforehand, large ones start first: a large one
// that starts last would run alone at the end.
func (r *run) inOrder(ctx context.Context, graph Graph) iter.Seq2[Layer, error] {
	g, known := graph.(*resolved)
	if known {
		for _, l := range g.layers {
			r.listed = append(r.listed, keyOf(l, r.below))
		}
	}
	if _, ordered := r.sink.(Skipper); ordered || !known {
		return graph.Layers(ctx)
	}
	bySize := slices.Clone(g.layers)
	slices.SortStableFunc(bySize, func(a, b Layer) int { return cmp.Compare(b.Blob.Size, a.Blob.Size) })
	return (&resolved{layers: bySize}).Layers(ctx)
}
