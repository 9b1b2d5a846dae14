package filter

import (
	"fmt"
	"io"
	"time"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// excluding is exclude at work on one layer.
type excluding struct {
	patterns *globs
	next     *tocGuard
	links    *links
	note     func(string)
	gather   func() (*contents, error)
	below    func() (*lower, error)

	lower    *lower       // nil until asked
	hidden   map[key]bool // whiteouts passed on of places that match; true: made by hide
	contents *contents    // of removed files that links need; nil until one does
	removed  int          // entries that match
	dangling int          // links whose target is in no layer
}

var _ tarstream.Handler = (*excluding)(nil)

// Entry removes the entry or passes it on.
func (x *excluding) Entry(e *tarstream.Entry) error {
	err := x.entry(e)
	if err != nil {
		x.contents.close()
	}
	return err
}

func (x *excluding) entry(e *tarstream.Entry) error {
	h := e.Header()
	if h.Type == tarstream.TypeGlobal { // it has no name
		return x.next.Entry(e)
	}
	switch v, hidden := x.patterns.judge(h.Name); v {
	case goes:
		return x.remove(h)
	case unsure:
		return x.whiteout(e, hidden)
	case keeps:
	}
	if h.Type == tarstream.TypeLink {
		if f := x.links.target(h.Linkname); f != nil {
			return x.link(e, f)
		}
	}
	return x.pass(e)
}

func (x *excluding) pass(e *tarstream.Entry) error {
	x.links.stays(e.Header())
	return x.next.Entry(e)
}

// remove leaves an entry out. Where something below it in the layers below
// would come back, a whiteout takes its place.
func (x *excluding) remove(h *tarstream.Header) error {
	x.removed++
	x.next.changed = true
	x.links.removed(h)
	at := place(h.Name)
	if !canHide(h) || x.patterns.matchBelow(at) {
		return nil
	}
	back, err := x.comesBack(at)
	if err != nil || !back {
		return err
	}
	return x.hide(at, h.ModTime)
}

// whiteout passes on a whiteout of a place that matches, while it is needed.
func (x *excluding) whiteout(e *tarstream.Entry, hidden string) error {
	back, err := x.comesBack(hidden)
	if err != nil {
		return err
	}
	if !back {
		return x.remove(e.Header())
	}
	k := keyOf(hidden)
	if x.hidden[k] { // containerd's overlay fails at a second one
		return nil
	}
	x.hidden[k] = false
	return x.pass(e)
}

// hide passes on a whiteout of a place, unless the layer has one.
func (x *excluding) hide(at string, modTime time.Time) error {
	k := keyOf(at)
	if _, ok := x.hidden[k]; ok {
		return nil
	}
	x.hidden[k] = true
	return hide(at, modTime, x.next)
}

func (x *excluding) comesBack(at string) (bool, error) {
	if x.lower == nil {
		low, err := x.below()
		if err != nil {
			return false, err
		}
		x.lower = low
	}
	return x.lower.comesBack(x.patterns, at), nil
}

// End tells what was done and ends the layer.
func (x *excluding) End(rest io.Reader) error {
	defer x.contents.close()
	if x.note != nil {
		if x.removed > 0 {
			x.note(count(x.removed, "entry", "entries") + " excluded")
		}
		if x.dangling > 0 {
			x.note(count(x.dangling, "hard link", "hard links") + " removed: the target is excluded and no layer holds its content")
		}
	}
	return x.next.End(rest)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
