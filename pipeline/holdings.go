package pipeline

import (
	"context"
	"iter"
)

// HoldingsOf lists the layers of all images that a source names: the holdings of
// a place whose images can be read. Layers that a partial archive was made
// without are not among them.
func HoldingsOf(ctx context.Context, src Source, limits Limits) iter.Seq2[Holding, error] {
	return func(yield func(Holding, error) bool) {
		graph, err := src.Open(ctx, Query{Platforms: Platforms{All: true}, Limits: limits, Below: true})
		if err != nil {
			yield(Holding{}, err)
			return
		}
		for l, err := range graph.Layers(ctx) {
			if err == nil && (l.Absent || l.Foreign.unread()) {
				continue
			}
			if !yield(Holding{Blob: l.Blob, DiffID: l.DiffID}, err) || err != nil {
				_ = graph.Close() // it was only read
				return
			}
		}
		if err := graph.Close(); err != nil {
			yield(Holding{}, err)
		}
	}
}

// Inventoried makes a source an Inventor.
type Inventoried struct{ Source }

var _ Inventor = Inventoried{}

// Holdings are the layers of all images of the source.
func (s Inventoried) Holdings(ctx context.Context, limits Limits) iter.Seq2[Holding, error] {
	return HoldingsOf(ctx, s.Source, limits)
}

// NoHoldings yields an error alone; nil yields nothing.
func NoHoldings(err error) iter.Seq2[Holding, error] {
	return func(yield func(Holding, error) bool) {
		if err != nil {
			yield(Holding{}, err)
		}
	}
}
