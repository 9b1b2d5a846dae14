// Package inventory keeps what a place holds in a file, so that a run on the
// other side of an air gap can leave that out.
//
//	Inventor.Holdings ─▶ Inventory ─▶ have.json ~~~ the gap ~~~▶ Inventory ─▶ Holds(layer)?
//
// What a place holds it says itself (pipeline.Inventor); what is done with
// layers that are there is the archive's affair.
package inventory

import (
	"iter"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// An Inventory is a set of layers. The zero value is empty; it may be read from
// many goroutines at once, and changed by none meanwhile.
type Inventory struct {
	// blobs are layers that serve upon any others, by their digest.
	blobs map[digest.Digest]pipeline.Holding
	// plain are the diff IDs of layers that serve upon any others, with a layer of
	// each that has no digest, or "".
	plain map[digest.Digest]bool
	// loose are layers without a digest that serve upon any others, by diff ID.
	loose map[digest.Digest]pipeline.Holding
	// chains are layers that serve upon those below them, by chain ID.
	chains map[digest.Digest]pipeline.Holding
}

// Add puts a layer into the inventory.
func (i *Inventory) Add(h pipeline.Holding) {
	if i.blobs == nil {
		i.blobs, i.loose = map[digest.Digest]pipeline.Holding{}, map[digest.Digest]pipeline.Holding{}
		i.chains, i.plain = map[digest.Digest]pipeline.Holding{}, map[digest.Digest]bool{}
	}
	h.Blob.Annotations, h.Blob.URLs, h.Blob.Data, h.Blob.Platform = nil, nil, nil, nil
	switch {
	case h.ChainID != "":
		i.chains[h.ChainID] = fuller(h, i.chains[h.ChainID])
		return
	case h.Blob.Digest != "":
		i.blobs[h.Blob.Digest] = fuller(h, i.blobs[h.Blob.Digest])
	case h.DiffID != "":
		i.loose[h.DiffID] = h
	}
	if h.DiffID != "" {
		i.plain[h.DiffID] = true
	}
}

// fuller is what is known of a layer that is added twice. Of two that say
// different things the lesser one counts, so that order does not matter.
func fuller(a, b pipeline.Holding) pipeline.Holding {
	least := func(a, b string) string {
		if a == "" || b != "" && b < a {
			return b
		}
		return a
	}
	switch {
	case a.Blob.Digest == b.Blob.Digest, b.Blob.Digest == "":
	case a.Blob.Digest == "" || b.Blob.Digest < a.Blob.Digest:
		a.Blob = b.Blob
	}
	if a.Blob.Digest == b.Blob.Digest {
		a.Blob.Size = max(a.Blob.Size, b.Blob.Size)
		a.Blob.MediaType = least(a.Blob.MediaType, b.Blob.MediaType)
	}
	a.DiffID = digest.Digest(least(string(a.DiffID), string(b.DiffID)))
	return a
}

// Merge adds all of another inventory.
func (i *Inventory) Merge(other *Inventory) {
	for h := range other.All() {
		i.Add(h)
	}
}

// Holds says whether the place needs no layer of its own: it has this blob, the
// same tar in another form, or the same tar upon the same layers.
func (i *Inventory) Holds(l pipeline.Layer) bool {
	if i.HoldsBlob(l.Blob.Digest, l.DiffID) {
		return true
	}
	if len(i.chains) == 0 {
		return false
	}
	_, ok := i.chains[l.ChainID()]
	return ok
}

// HoldsBlob is Holds for a layer of which it is not known what lies below.
func (i *Inventory) HoldsBlob(blob, diffID digest.Digest) bool {
	_, ok := i.blobs[blob]
	return ok || diffID != "" && i.plain[diffID]
}

// All yields the layers in the order of the file.
func (i *Inventory) All() iter.Seq[pipeline.Holding] {
	return func(yield func(pipeline.Holding) bool) {
		for _, set := range []map[digest.Digest]pipeline.Holding{i.blobs, i.loose, i.chains} {
			keys := make([]digest.Digest, 0, len(set))
			for k := range set {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			for _, k := range keys {
				if !yield(set[k]) {
					return
				}
			}
		}
	}
}

// Len is how many layers there are.
func (i *Inventory) Len() int { return len(i.blobs) + len(i.loose) + len(i.chains) }
