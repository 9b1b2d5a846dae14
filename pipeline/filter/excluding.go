package filter

import (
	"fmt"
	"io"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// excluding is exclude at work on one layer.
type excluding struct {
	patterns *globs
	next     *tocGuard
	links    *links
	note     func(string)
	gather   func() (*contents, error)
	below    func(path string) (bool, error)

	contents *contents // of removed files that links need; nil until one does
	removed  int       // entries that match
	dangling int       // links whose target is in no layer
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
	remove, err := x.matches(h.Name)
	if err != nil {
		return err
	}
	if remove {
		x.removed++
		x.next.changed = true
		x.links.removed(h)
		return nil
	}
	if h.Type == tarstream.TypeLink {
		if f := x.links.target(h.Linkname); f != nil {
			return x.link(e, f)
		}
	}
	x.links.stays(h)
	return x.next.Entry(e)
}

// matches says whether an entry is to be removed.
func (x *excluding) matches(name string) (bool, error) {
	switch v, hidden := x.patterns.judge(name); v {
	case goes:
		return true, nil
	case unsure:
		kept, err := x.below(hidden)
		return !kept, err
	case keeps:
	}
	return false, nil
}

// link passes on a hard link to a removed file.
func (x *excluding) link(e *tarstream.Entry, f *file) error {
	h := e.Header()
	x.next.changed = true
	switch {
	case f.heir == "":
		return x.promote(e, f)
	case place(f.heir) == place(h.Name): // it is that file already
		return nil
	}
	x.links.stays(h)
	e.Edit().Linkname = f.heir
	return x.next.Entry(e)
}

// promote passes on the removed file under the name of its first link. The
// times are the link's, which have been through the filters before this one.
func (x *excluding) promote(e *tarstream.Entry, f *file) error {
	if x.contents == nil {
		c, err := x.gather()
		if err != nil {
			return fmt.Errorf("look for the content of hard link %q: %w", e.Header().Name, err)
		}
		x.contents = c
	}
	link := *e.Header()
	found, err := x.contents.entry(e.Offset(), func(content *tarstream.Entry) error {
		h := content.Edit()
		h.Name = link.Name
		h.ModTime, h.AccessTime, h.ChangeTime = link.ModTime, link.AccessTime, link.ChangeTime
		return x.next.Entry(content)
	})
	if err != nil {
		return err
	}
	if !found {
		x.dangling++
		x.links.removed(&link)
		return nil
	}
	x.links.stays(&link)
	x.links.inherit(f, link.Name)
	return nil
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
