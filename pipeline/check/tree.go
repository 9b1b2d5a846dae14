package check

import (
	"fmt"
	"hash/maphash"

	"github.com/opencontainers/go-digest"
)

// A tree judges the layers of one image together, from the top down, so that it
// is known of each entry what hides it. For each place it remembers a hash and
// what the layers so far have there; names stay in the rolls.
//
//	for each layer, the highest first:
//	   look      which entries does something above hide?   waste, visible
//	   register  what the layer has and deletes             duplicates, types
//	   settle    what lies below what, where links point    types, links
type tree struct {
	*teller
	hasher
	layers []*layer // nil: not read
	blobs  []digest.Digest

	seen    map[uint64]seen
	gone    map[uint64]uint32 // what whiteouts delete: the lowest layer so far
	opaque  map[uint64]uint32
	implied map[uint64]uint32 // directories that a layer has by their content only
	folded  map[uint64]string // visible names with capitals, by their small ones
	visible []uint64          // of the layer at hand, a bit for each entry
	parents parents
	links   []link
	waste   *wasteCounter
	dups    *duplicates
}

// seen is what the layers so far have at a place. Layers count from 1.
type seen struct {
	least   int64  // the smallest size
	last    uint32 // the lowest layer so far
	block   uint32 // the lowest that has no directory there
	kind    kind   // in the lowest
	regular bool   // some layer has a file
	twice   bool   // more than one has
	visible bool
}

func newTree(t *teller, layers []*layer, blobs []digest.Digest) *tree {
	n := 0
	for _, l := range layers {
		if l != nil {
			n += l.roll.count
		}
	}
	out := &tree{
		teller: t, hasher: hasher{maphash.MakeSeed()}, layers: layers, blobs: blobs,
		seen: make(map[uint64]seen, n), gone: map[uint64]uint32{}, opaque: map[uint64]uint32{}, implied: map[uint64]uint32{},
		folded: map[uint64]string{}, waste: newWasteCounter(), dups: newDuplicates(),
	}
	out.parents.hasher = out.hasher
	return out
}

// judge runs the checks, and returns what is wasted.
func (t *tree) judge() *Waste {
	for i := len(t.layers) - 1; i >= 0; i-- {
		if l := t.layers[i]; l != nil {
			t.look(i, l)
			t.cutLinks()
			t.register(i, l)
			t.settle(i, l)
		}
	}
	t.endLinks()
	t.foldNames()
	t.dups.tell(t)
	return t.waste.result()
}

// tell tells of a file in layer i.
func (t *tree) tell(i int, id string, severity Severity, path, format string, args ...any) {
	t.file(finding{id, severity, path, layerName(i, t.blobs[i]) + ": " + quote(path) + " " + fmt.Sprintf(format, args...)}, t.blobs[i])
}

// look says of each entry whether something above hides it.
func (t *tree) look(i int, l *layer) {
	t.visible = make([]uint64, l.roll.count/64+1)
	t.parents.forget()
	l.roll.each(func(n int, it item) {
		if it.kind.isWhiteout() {
			return
		}
		h := t.hash(it.name)
		by, how := t.hiddenBy(it.name, h, it.kind.isDir())
		t.waste.add(i, it, by, how, by == t.gone[h])
		if by > 0 {
			return
		}
		t.visible[n/64] |= 1 << (n % 64)
		t.foldName(i, it.name, h)
		t.underImplied(i, it, h)
	})
}

// hiddenBy is the lowest of the layers so far that hides a place, counted from
// 1, and how; 0 for none.
func (t *tree) hiddenBy(name []byte, h uint64, isDir bool) (by uint32, how string) {
	take := func(layer uint32, word string) {
		if layer > 0 && (by == 0 || layer < by) {
			by, how = layer, word
		}
	}
	s := t.seen[h]
	take(s.block, Replaced)
	if !isDir {
		take(s.last, Replaced)
	}
	take(t.gone[h], Deleted)
	p := t.parents.of(name, t.hiddenDir)
	take(p.by, p.how)
	return by, how
}

// hiddenDir is the same for all that a directory holds; above is what its parent
// is told.
func (t *tree) hiddenDir(h uint64, _ []byte, above hiding) hiding {
	take := func(layer uint32, word string) {
		if layer > 0 && (above.by == 0 || layer < above.by) {
			above = hiding{layer, word}
		}
	}
	take(t.seen[h].block, Replaced)
	take(t.gone[h], Deleted)
	take(t.opaque[h], Deleted)
	return above
}

// layerName names a layer by its number from 0, the lowest, and its digest.
func layerName(i int, blob digest.Digest) string {
	return fmt.Sprintf("layer %d (%s)", i, quote(short(blob)))
}

func short(blob digest.Digest) string {
	const enough = 12
	if blob.Validate() == nil {
		return blob.Encoded()[:enough]
	}
	return blob.String()
}
