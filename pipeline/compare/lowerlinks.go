package compare

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
)

// linkDown gives the hard links of both images that lead into layers below their
// own what their targets are there, as a linker does within a layer. Lost says that
// targets of some are in no layer that was read.
func (c *Comparison) linkDown(ctx context.Context) (lost bool, err error) {
	if !c.links {
		return false, nil
	}
	for _, i := range []*Image{c.A, c.B} {
		d := &downLinker{shelf: c.shelf, layers: i.layers, found: map[int]*sorter{}}
		if err := d.resolve(ctx); err != nil {
			return false, err
		}
		lost = lost || d.lost
		for position, s := range d.found {
			if err := s.end(); err != nil {
				return false, err
			}
			i.layers = append(i.layers, layerRuns{position, s.runs})
		}
	}
	return lost, nil
}

// A downLinker looks for the targets of an image's links by merges with the links
// sorted by their targets. What it finds becomes a further entry of the link's
// layer, behind all others.
type downLinker struct {
	shelf  *shelf
	layers []layerRuns
	links  *sorter
	count  int
	found  map[int]*sorter // by position
	kept   int             // bytes in the memory of found
	lost   bool
}

// A downLink is a visible link: where it is, and before which entry of which layer
// its target is looked for. That sinks where the target is such a link itself.
type downLink struct {
	at             string
	position, from int
	seq            uint64
}

func (l downLink) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(l.position))
	b = binary.AppendUvarint(b, uint64(l.from))
	b = binary.AppendUvarint(b, l.seq)
	return append(b, l.at...)
}

func decodeDownLink(b []byte) (downLink, error) {
	d := &decoder{b: b}
	position, from, seq := d.uvarint(), d.uvarint(), d.uvarint()
	return downLink{string(d.b), int(position), int(from), seq}, d.err()
}

func (d *downLinker) add(target string, l downLink) error {
	d.count++
	return d.links.add(target, 0, l.append)
}

func (d *downLinker) resolve(ctx context.Context) error {
	d.links = &sorter{shelf: d.shelf}
	for n, err := range d.shelf.visible(ctx, d.layers) {
		if err != nil {
			return err
		}
		if kind(n.record[0]) != hardlink {
			continue
		}
		f, err := decode(n.record)
		if err != nil {
			return err
		}
		if err := d.add(f.Link, downLink{placeOf(n.key), n.position, n.position, n.seq}); err != nil {
			return err
		}
	}
	for range maxChain {
		if d.count == 0 {
			return nil
		}
		if err := d.round(ctx); err != nil {
			return err
		}
	}
	d.lost = true
	return nil
}

// round looks for all targets once. Links whose targets are such links are kept
// for the next.
func (d *downLinker) round(ctx context.Context) error {
	if err := d.links.end(); err != nil {
		return err
	}
	const atTop = math.MaxInt // links come first in a group
	layers := append(slices.Clone(d.layers), layerRuns{atTop, d.links.runs})
	d.links, d.count = &sorter{shelf: d.shelf}, 0
	var above ancestors
	for g, err := range d.shelf.groups(ctx, layers) {
		if err != nil {
			return err
		}
		n := 0
		for n < len(g.items) && g.items[n].position == atTop {
			n++
		}
		links, here := g.items[:n], telling(g.items[n:])
		above.enter(g.key)
		for _, i := range links {
			l, err := decodeDownLink(i.record)
			if err != nil {
				return err
			}
			if err := d.link(l, placeOf(g.key), above.before(here, l)); err != nil {
				return err
			}
		}
		above.push(g.key, here)
	}
	return nil
}

// link adds a link whose target is what an item says, or nothing.
func (d *downLinker) link(l downLink, target string, i *item) error {
	if i == nil || i.kind() == dir || i.kind() == implied {
		d.lost = d.lost || i == nil
		return nil
	}
	if i.kind() == hardlink {
		f, err := decode(i.record)
		if err != nil {
			return err
		}
		return d.add(f.Link, downLink{l.at, l.position, i.position, i.seq})
	}
	s := d.found[l.position]
	if s == nil {
		s = &sorter{shelf: d.shelf}
		d.found[l.position] = s
	}
	err := s.add(l.at, math.MaxUint64, func(b []byte) []byte { return appendLinked(b, i.record, target) })
	if d.kept += len(l.at) + len(i.record); err == nil && d.kept >= chunk { // all layers together
		d.kept = 0
		for _, s := range d.found {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return err
}

// ancestors are the directories above a place, each with what layers have there.
type ancestors struct {
	path  []byte
	stack []ancestor
}

type ancestor struct {
	end   int
	items []item
}

func (a *ancestors) enter(key []byte) {
	for n := len(a.stack); n > 0 && !under(key, a.path[:a.stack[n-1].end]); n = len(a.stack) {
		a.stack = a.stack[:n-1]
	}
}

func (a *ancestors) push(key []byte, items []item) {
	kept := slices.Clone(items)
	for n, i := range kept {
		kept[n].record = slices.Clone(i.record[:1]) // the kind
	}
	a.path = append(a.path[:0], key...)
	a.stack = append(a.stack, ancestor{len(key), kept})
}

// telling leaves out, in place, what never counts: of many entries that a layer has
// at one place only the last, and of those that say one thing only one. There may
// be as many as the layer has files.
func telling(items []item) []item {
	position, said := -1, [implied + 1]bool{}
	return slices.DeleteFunc(items, func(i item) bool {
		if i.position != position {
			position, said = i.position, [implied + 1]bool{}
		}
		k := i.kind()
		if k == hardlink {
			return false // which one counts depends on who asks
		}
		if !k.isBare() {
			k = file
		}
		was := said[k]
		said[k] = true
		return was
	})
}

// before is what shows of the items at a place when a link is met; nil for
// nothing. Its layer's whiteouts were followed first, and of what else that has
// only such links can count: a linker has seen the rest.
func (a *ancestors) before(items []item, l downLink) *item {
	floor := 0
	for _, dir := range a.stack {
		_, floor = l.met(dir.items).judge(floor)
	}
	visible, _ := l.met(items).judge(floor)
	return visible
}

func (l downLink) met(items []item) *group {
	g := &group{}
	last := -1
	for _, i := range items {
		k := i.kind()
		if !k.isBare() && i.position == last {
			continue // the later one counts
		}
		if i.position < l.from || i.position == l.from && (k == gone || k == opaque || k == hardlink && i.seq < l.seq) {
			g.items = append(g.items, i)
			if !k.isBare() {
				last = i.position
			}
		}
	}
	return g
}
