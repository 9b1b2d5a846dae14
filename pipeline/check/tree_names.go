package check

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// maxFolded is how many names with capitals are remembered.
const maxFolded = 200_000

// foldName compares a visible name with those that differ from it in the case of
// the last element.
func (t *tree) foldName(i int, name []byte, h uint64) {
	start := bytes.LastIndexByte(name, '/') + 1
	small := bytes.ToLower(name[start:])
	if bytes.Equal(small, name[start:]) {
		return
	}
	fold := t.hash(append(bytes.Clone(name[:start]), small...))
	if have, ok := t.folded[fold]; ok {
		if t.hashOf(have) != h {
			t.tell(i, "case-conflict", Warning, string(name), "and %s differ in case only", quote(have))
		}
		return
	}
	if len(t.folded) < maxFolded {
		t.folded[fold] = string(name)
	}
}

// foldNames compares them with names in small letters.
func (t *tree) foldNames() {
	var names []string
	for fold, name := range t.folded {
		if t.seen[fold].visible {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		small := name[:len(name)-len(baseOf(name))] + strings.ToLower(baseOf(name))
		at := int(t.seen[t.hashOf(name)].last) - 1
		t.tell(at, "case-conflict", Warning, name, "and %s differ in case only", quote(small))
	}
}

// duplicates are files that are there more than once.
type duplicates struct {
	count int
	first map[uint64]*duplicate
	order []*duplicate
}

type duplicate struct {
	path   string
	layers []uint32
}

func newDuplicates() *duplicates {
	return &duplicates{first: map[uint64]*duplicate{}}
}

// add learns that a file is there again; known: it was so before.
func (d *duplicates) add(h uint64, name []byte, above, now uint32, known bool) {
	if have := d.first[h]; have != nil {
		have.layers = append(have.layers, now)
		return
	}
	if known {
		return
	}
	d.count++
	if len(d.first) >= listed {
		return
	}
	have := &duplicate{string(name), []uint32{above, now}}
	d.first[h] = have
	d.order = append(d.order, have)
}

// tell names the first ones with the layers that have them, from 0 for the
// lowest, and then says how many there are.
func (d *duplicates) tell(t *tree) {
	slices.SortFunc(d.order, func(a, b *duplicate) int { return strings.Compare(a.path, b.path) })
	for _, dup := range d.order {
		slices.Sort(dup.layers)
		var in []string
		for _, l := range dup.layers {
			in = append(in, strconv.Itoa(int(l)-1))
		}
		t.add(Result{
			Severity: Warning, Check: "duplicate-file", Path: dup.path,
			Message: quote(dup.path) + " is in layers " + strings.Join(in, ", "),
		})
	}
	if d.count > 0 {
		t.bad("duplicate-file", "%s more than once; a later copy hides the earlier ones, which take up space", count(d.count, "file is there", "files are there"))
	}
}
