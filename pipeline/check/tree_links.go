package check

import "slices"

// A link is a hard link whose target has not been found.
type link struct {
	layer        int
	path, target string
	later        bool // what the layer itself has of the target comes after it
}

// maxLinks is how many such links are followed; real layers have few or none.
const maxLinks = 1_000

// link looks for the target among what the layer had before it.
func (t *tree) link(i int, it item) {
	s := t.seen[t.hash(it.target)]
	now := uint32(i + 1)
	switch {
	case string(it.target) == string(it.name):
		t.tell(i, "hardlink-target", Error, string(it.name), "is a hard link to itself")
	case s.last == now && s.kind.isDir():
		t.tell(i, "hardlink-target", Error, string(it.name), "is a hard link to %s, which is a directory", quote(string(it.target)))
	case s.last == now:
	case len(t.links) < maxLinks:
		t.links = append(t.links, link{i, string(it.name), string(it.target), false})
	}
}

// settleLinks looks at what the layer has after them.
func (t *tree) settleLinks(i int) {
	now := uint32(i + 1)
	left := t.links[:0]
	for _, l := range t.links {
		s := t.seen[t.hashOf(l.target)]
		switch {
		case s.last == now && s.kind.isDir():
			t.tell(l.layer, "hardlink-target", Error, l.path, "is a hard link to %s, which is a directory", quote(l.target))
		case s.last == now && l.layer == i:
			t.tell(i, "hardlink-target", Error, l.path, "is a hard link to %s, which comes after it", quote(l.target))
		case s.last == now:
		default:
			left = append(left, l)
		}
	}
	t.links = left
}

// cutLinks drops those whose target a layer between has hidden from them.
func (t *tree) cutLinks() {
	t.parents.forget()
	left := t.links[:0]
	for _, l := range t.links {
		by, how := t.hiddenBy([]byte(l.target), t.hashOf(l.target), true)
		if by > 0 && by <= uint32(l.layer) {
			t.tell(l.layer, "hardlink-target", Error, l.path, "is a hard link to %s, which layer %d has %s", quote(l.target), by-1, how)
			continue
		}
		left = append(left, l)
	}
	t.links = left
	t.parents.forget()
}

// endLinks tells of those that point at nothing. What a layer has that was not
// read, nobody knows.
func (t *tree) endLinks() {
	for _, l := range t.links {
		if slices.Contains(t.layers[:l.layer], nil) {
			continue
		}
		t.tell(l.layer, "hardlink-target", Error, l.path, "is a hard link to %s, which is nowhere", quote(l.target))
	}
}
