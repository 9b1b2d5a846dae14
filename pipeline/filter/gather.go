package filter

import (
	"context"
	"slices"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A want is a hard link whose target is removed, and how far its content has
// been found.
type want struct {
	link   int64 // where the link's entry starts in the layer being filtered
	target ref
	layer  int // that target is in: 0 the one being filtered, 1 the one below, …
	hops   int
	lost   bool // no layer holds it
}

// A ref leads to a file: the entry at an offset or, while that is unknown, the
// last one at a place before an offset.
type ref struct {
	known  bool
	offset int64
	place  string
}

// gather puts aside the content of all removed files that hard links of a layer
// need. It reads the layer as the source holds it, whatever earlier filters
// removed or promoted, and costs a constant number of passes, however many
// links there are and in whatever order:
//
//	which links, to what ─▶ what is still open: here, in the layers below ─▶ content
func gather(ctx context.Context, g *globs, l pipeline.LayerInfo, tempDir string) (*contents, error) {
	own := plain(ctx, l)
	w := &wanting{globs: g, gone: map[key]ref{}, shared: keys{}}
	if err := scan(own, w.look); err != nil {
		return nil, err
	}
	layers := []opener{own}
	for _, p := range slices.Backward(l.Parents) {
		if !readable(p) { // below it may be what it replaces
			break
		}
		layers = append(layers, plainOf(ctx, l, p))
	}
	for i, open := range layers {
		if err := locate(i, open, w.wants); err != nil {
			return nil, err
		}
	}
	c, err := newContents(tempDir)
	if err != nil {
		return nil, err
	}
	if err := c.fill(layers, w.wants); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// wanting is the pass that finds the links that may need content, and of most
// of them where it is: targets stand before their links.
type wanting struct {
	*globs
	gone   map[key]ref // removed names; 48 bytes for each, some 100 with the map's room
	shared keys        // where removed links lead: an earlier filter may have removed that
	wants  []*want
}

func (w *wanting) look(e *tarstream.Entry) error {
	h := e.Header()
	k := keyOf(place(h.Name))
	isLink := h.Type == tarstream.TypeLink
	switch v, _ := w.judge(h.Name); {
	case v == keeps && !isLink:
		delete(w.gone, k)
	case v == keeps:
		if w.needs(h.Linkname) {
			w.wants = append(w.wants, &want{link: e.Offset(), target: w.ref(h.Linkname, e.Offset())})
		}
		delete(w.gone, k)
	case isLink:
		w.gone[k] = w.ref(h.Linkname, e.Offset())
		w.shared[keyOf(place(h.Linkname))] = struct{}{}
	case h.Type != tarstream.TypeDir:
		w.gone[k] = ref{known: true, offset: e.Offset()}
	}
	return nil
}

func (w *wanting) needs(target string) bool {
	k := keyOf(place(target))
	_, gone := w.gone[k]
	return gone || w.shared.has(k) || w.removesTarget(target)
}

// ref is what a link's target means to an entry at an offset. A path too long
// for extractors is taken for the root, which is no file.
func (w *wanting) ref(target string, before int64) ref {
	at := place(target)
	if r, ok := w.gone[keyOf(at)]; ok {
		return r
	}
	if len(at) > maxPath {
		at = ""
	}
	return ref{place: at, offset: before}
}
