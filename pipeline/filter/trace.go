package filter

import (
	"hash/maphash"
	"slices"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A trace is what a layer does to those below it: 8 bytes for each entry, since
// the layers below may be known later, and have very many files. Two places
// are taken for one once in 2^64 times; the seed is secret, so that nobody can
// look for such places.
type trace struct {
	seed   maphash.Seed
	files  []uint64 // places of entries that are no directories
	dirs   []uint64
	gone   []uint64 // places that whiteouts delete
	opaque []uint64 // directories whose lower content is gone
}

func (t *trace) add(h *tarstream.Header) {
	at := place(h.Name)
	hidden, opaque, ok := whiteout(at)
	switch {
	case opaque:
		t.opaque = append(t.opaque, t.hash(hidden))
	case ok:
		t.gone = append(t.gone, t.hash(hidden))
	case h.Type == tarstream.TypeDir:
		t.dirs = append(t.dirs, t.hash(at))
	default:
		t.files = append(t.files, t.hash(at))
	}
}

func (t *trace) hash(at string) uint64 { return maphash.String(t.seed, at) }

// sort ends the adding.
func (t *trace) sort() {
	for _, s := range [][]uint64{t.files, t.dirs, t.gone, t.opaque} {
		slices.Sort(s)
	}
}

// hides says how the layer hides what a lower one has at a place; "" for not.
func (t *trace) hides(at string, isDir bool) string {
	self := t.hash(at)
	switch {
	case has(t.files, self), !isDir && has(t.dirs, self):
		return SearchReplaced
	case has(t.gone, self):
		return SearchDeleted
	}
	for dir := at; dir != ""; {
		dir = parentOf(dir)
		k := t.hash(dir)
		switch {
		case has(t.opaque, k), has(t.gone, k):
			return SearchDeleted
		case has(t.files, k):
			return SearchReplaced
		}
	}
	return ""
}

func has(sorted []uint64, k uint64) bool {
	_, ok := slices.BinarySearch(sorted, k)
	return ok
}
