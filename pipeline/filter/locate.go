package filter

import (
	"math"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// maxHops bounds how long a chain of hard links may be, each of which costs a
// pass. Archivers link to the first name of a file: one hop.
const maxHops = 8

// locate looks in one layer for what the wants still miss. What is not found
// may be in the layer below, unless a whiteout hides that.
func locate(layer int, open opener, wants []*want) error {
	var missing []*want
	for _, w := range wants {
		if !w.target.known && !w.lost {
			missing = append(missing, w)
		}
	}
	for len(missing) > 0 {
		s := newSearch(missing)
		if err := scan(open, s.look); err != nil {
			return err
		}
		missing = s.settle(layer, missing)
	}
	return nil
}

// search is one pass over a layer for many places at once.
type search struct {
	byPlace map[string][]*want
	above   paths // the places and all directories they are in
	hidden  paths // of those: whited out
	opaque  paths // of those: opaque directories
	hits    map[*want]hit
}

// A hit is the last entry so far at a want's place.
type hit struct {
	offset int64
	kind   byte
	link   string
}

func newSearch(wants []*want) *search {
	s := &search{byPlace: map[string][]*want{}, above: paths{}, hidden: paths{}, opaque: paths{}, hits: map[*want]hit{}}
	for _, w := range wants {
		p := w.target.place
		s.byPlace[p] = append(s.byPlace[p], w)
		for ; p != "" && !s.above.has(p); p = parentOf(p) {
			s.above[p] = struct{}{}
		}
		s.above[""] = struct{}{}
	}
	return s
}

func (s *search) look(e *tarstream.Entry) error {
	h := e.Header()
	at := place(h.Name)
	for _, w := range s.byPlace[at] {
		if e.Offset() < w.target.offset {
			s.hits[w] = hit{e.Offset(), h.Type, h.Linkname}
		}
	}
	switch hidden, opaque, ok := whiteout(at); {
	case !ok || !s.above.has(hidden):
	case opaque:
		s.opaque[hidden] = struct{}{}
	default:
		s.hidden[hidden] = struct{}{}
	}
	return nil
}

// hides says whether the layer hides a path of the layers below.
func (s *search) hides(p string) bool {
	for ; p != ""; p = parentOf(p) {
		if s.hidden.has(p) || s.opaque.has(parentOf(p)) {
			return true
		}
	}
	return false
}

// settle takes in what the pass found and returns the wants that have to be
// looked for in the same layer again: those that a link led on.
func (s *search) settle(layer int, wants []*want) []*want {
	var again []*want
	for _, w := range wants {
		h, ok := s.hits[w]
		switch {
		case !ok && s.hides(w.target.place):
			w.lost = true
		case !ok:
			w.target.offset = math.MaxInt64 // anywhere in the layer below
		case h.kind == tarstream.TypeDir, h.kind == tarstream.TypeLink && w.hops == maxHops:
			w.lost = true
		case h.kind == tarstream.TypeLink:
			w.hops++
			w.target = ref{place: place(h.link), offset: h.offset}
			again = append(again, w)
		default:
			w.target = ref{known: true, offset: h.offset}
			w.layer = layer
		}
	}
	return again
}
