package compare

import (
	"context"
	"slices"
)

// A linker gives the hard links of a layer what their targets are: they are files
// like their targets, and which of the names comes first is a builder's whim. The
// targets are looked for when the layer has been read, by a merge with the links
// sorted by their targets. One that the layer itself does not have, before the
// link, is not found: such links stay links, and their targets are looked for in the
// layers below (linkDown).
type linker struct {
	entries *sorter
	links   sorter // by target; a record is the link's own place
	count   int
}

func (l *linker) add(at, target string, seq uint64) error {
	l.count++
	return l.links.add(target, seq, func(b []byte) []byte { return append(b, at...) })
}

// maxChain is how many links may stand one behind the other: archivers link to the
// first name always.
const maxChain = 8

// resolve adds the links to the entries of the layer.
func (l *linker) resolve(ctx context.Context) error {
	for range maxChain {
		was := l.count
		if was == 0 {
			return nil
		}
		if err := l.round(ctx, true); err != nil {
			return err
		}
		if l.count == was {
			break
		}
	}
	return l.round(ctx, false)
}

// The positions by which links and entries are told apart in a merge.
const (
	atEntries = iota
	atLinks
)

// round looks for all targets once. Links whose targets are not found are kept for
// the next round or, where there is none, become entries as they are.
func (l *linker) round(ctx context.Context, again bool) error {
	if err := l.entries.flush(); err != nil {
		return err
	}
	if err := l.links.end(); err != nil {
		return err
	}
	layer := []layerRuns{{atEntries, l.entries.runs}, {atLinks, l.links.runs}}
	shelf := l.entries.shelf
	l.links, l.count = sorter{shelf: shelf}, 0
	for g, err := range shelf.groups(ctx, layer) {
		if err != nil {
			return err
		}
		n := slices.IndexFunc(g.items, func(i item) bool { return i.position != atLinks }) // links come first
		if n < 0 {
			n = len(g.items)
		}
		entries := g.items[n:]
		for _, link := range g.items[:n] {
			// The last of both stand first: what comes after this link does after the
			// next one, too.
			for len(entries) > 0 && (entries[0].seq >= link.seq || entries[0].kind().isBare()) {
				entries = entries[1:]
			}
			if err := l.link(placeOf(g.key), link, entries, again); err != nil {
				return err
			}
		}
	}
	return nil
}

// link adds one link. Before are the entries that the layer has at its target
// before it, the last one first.
func (l *linker) link(target string, link item, before []item, again bool) error {
	at := string(link.record)
	if len(before) > 0 && before[0].kind() != dir && before[0].kind() != hardlink {
		return l.entries.add(at, link.seq, func(b []byte) []byte { return appendLinked(b, before[0].record, target) })
	}
	if again {
		return l.add(at, target, link.seq)
	}
	l.entries.links = true
	return l.entries.add(at, link.seq, func(b []byte) []byte { return appendString(append(b, byte(hardlink)), target) })
}
