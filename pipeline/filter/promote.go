package filter

import (
	"fmt"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

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
	e.Edit().Linkname = f.heir
	return x.pass(e)
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
		return x.dangles(&link)
	}
	x.links.stays(&link)
	x.links.inherit(f, link.Name)
	return nil
}

// dangles leaves out a link whose target is in no layer. No daemon could extract
// it, unless the target is in a layer that cannot be looked at; then the link
// may hide something as well.
func (x *excluding) dangles(h *tarstream.Header) error {
	x.dangling++
	x.links.removed(h)
	if _, err := x.comesBack(place(h.Name)); err != nil || !x.lower.unseen || !canHide(h) {
		return err
	}
	return x.hide(place(h.Name), h.ModTime)
}
