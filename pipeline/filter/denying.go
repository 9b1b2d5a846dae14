package filter

import (
	"io"
	"strconv"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// denying is deny at work on one layer. It looks at all of it, so that whoever
// has to mend the image hears of everything at once.
type denying struct {
	*deny
	next tarstream.Handler
	broken
}

var _ tarstream.Handler = (*denying)(nil)

// Entry judges the entry and passes it on.
func (d *denying) Entry(e *tarstream.Entry) error {
	h := e.Header()
	if h.Type == tarstream.TypeGlobal || d.allow.matchName(h.Name) { // a global header has no name
		return d.next.Entry(e)
	}
	if d.patterns.matchName(h.Name) {
		d.add("%s matches pattern=%s", quoted(h.Name), d.patterns.whichName(h.Name))
	}
	if d.maxSize > 0 && h.Size > d.maxSize && h.IsRegular() {
		d.add("%s has %d bytes, more than max-size=%d", quoted(h.Name), h.Size, d.maxSize)
	}
	if !d.secrets || !h.IsRegular() || h.Size == 0 {
		return d.next.Entry(e)
	}
	return d.inside(e)
}

// inside looks for secrets while others pass the content on.
func (d *denying) inside(e *tarstream.Entry) error {
	name := e.Header().Name // as it is here, whatever later filters make of it
	look := newSecretScanner(place(name))
	defer look.release()
	e.Tee(look)
	if err := d.next.Entry(e); err != nil {
		return err
	}
	if err := e.Drain(); err != nil {
		return err
	}
	for _, s := range look.end() {
		d.add("%s has %s in line %d (secrets=true)", quoted(name), s.what, s.line)
	}
	return nil
}

// End ends the layer, if it may be.
func (d *denying) End(rest io.Reader) error {
	if err := d.err("the layer"); err != nil {
		return err
	}
	return d.next.End(rest)
}

// quoted is a name in a message: quoted where it holds what a terminal may take
// for something else.
func quoted(name string) string {
	name = stored(name)
	if q := strconv.Quote(name); q != `"`+name+`"` {
		return q
	}
	return name
}
