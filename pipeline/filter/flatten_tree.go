package filter

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A tree is the file system that layers make, without contents: what is where,
// and which entry of which layer brought it. A place costs 28 bytes, its name and
// about 8 bytes of the table; a file 16, an entry 8. Links are followed as the
// kernel follows them in a container, where nothing leads out of the top.
//
// Nothing is ever moved: what is removed is forgotten by the table, and so are all
// places below it, since nobody can get there any more. A directory that loses all
// it holds is a new place of the same name.
type tree struct {
	places pages[entity]
	inodes pages[inode]
	brings pages[bring]
	names  [][]byte // of places and targets of symbolic links, in pieces of namesPage
	table  []uint32 // the first place of each chain; none
	seed   maphash.Seed
	starts []uint32 // the first bring of each layer
	top    uint32
	base   uint32 // places that the base has; 0 without one
	most   int64  // places; 0 for any number
}

// none is no place, no inode and no bring.
const none = math.MaxUint32

// A entity is a name in a directory.
type entity struct {
	parent  uint32
	name    uint32 // where it starts in tree.names
	next    uint32 // in the chain of the table
	inode   uint32 // none: it is a directory
	bring   uint32 // the entry that says what it is; none: a directory that no entry names
	length  uint16 // of the name
	depth   uint16 // below the top
	removed bool
	done    bool // it stands in the new layer
	covers  bool // a directory of the base that is not to be seen through it
	ousts   bool // a directory in the place of a file or link of the base
}

// An inode is a file under all its names.
type inode struct {
	bring  uint32 // the entry with the content
	heir   uint32 // the place that gets the content; none until all layers were read
	target uint32 // of a symbolic link, in tree.names
	length uint16
	link   bool // it is a symbolic link
}

// A bring is an entry that brought something: where it starts in its layer, in
// blocks, and which place it is for.
type bring struct{ block, place uint32 }

func newTree() *tree {
	t := &tree{seed: maphash.MakeSeed(), table: make([]uint32, 1024)}
	t.clear()
	t.top = t.add(none, "", none)
	return t
}

func (t *tree) clear() {
	for i := range t.table {
		t.table[i] = none
	}
}

// namesPage is a power of two that names and targets, of at most maxPath, fit in.
const namesPage = 64 << 10

func (t *tree) text(at uint32, length uint16) []byte {
	return t.names[at/namesPage][at%namesPage:][:length]
}

func (t *tree) nameOf(p uint32) []byte { return t.text(t.places.at(p).name, t.places.at(p).length) }

// keep remembers a name.
func (t *tree) keep(s string) uint32 {
	last := len(t.names) - 1
	if last < 0 || len(t.names[last])+len(s) > namesPage {
		t.names, last = append(t.names, make([]byte, 0, namesPage)), last+1
	}
	at := uint32(last*namesPage + len(t.names[last]))
	t.names[last] = append(t.names[last], s...)
	return at
}

func (t *tree) slot(parent uint32, name string) uint32 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	_, _ = h.Write([]byte{byte(parent), byte(parent >> 8), byte(parent >> 16), byte(parent >> 24)})
	_, _ = h.WriteString(name)
	return uint32(h.Sum64()) & uint32(len(t.table)-1)
}

// find is the place of a name in a directory; none if nothing is there.
func (t *tree) find(parent uint32, name string) uint32 {
	p := t.table[t.slot(parent, name)]
	for p != none && (t.places.at(p).parent != parent || string(t.nameOf(p)) != name) {
		p = t.places.at(p).next
	}
	return p
}

// add makes a place, where there is none.
func (t *tree) add(parent uint32, name string, inode uint32) uint32 {
	p := t.places.n
	depth := uint16(0)
	if parent != none {
		depth = t.places.at(parent).depth + 1
	}
	t.places.add(entity{depth: depth, parent: parent, name: t.keep(name), length: uint16(len(name)), inode: inode, bring: none})
	if int(t.places.n) > len(t.table) {
		t.grow()
	} else {
		t.chain(p, name)
	}
	return p
}

func (t *tree) chain(p uint32, name string) {
	s := t.slot(t.places.at(p).parent, name)
	t.places.at(p).next, t.table[s] = t.table[s], p
}

func (t *tree) grow() {
	t.table = make([]uint32, 2*len(t.table))
	t.clear()
	for p := range t.places.n {
		if !t.places.at(p).removed {
			t.chain(p, string(t.nameOf(p)))
		}
	}
}

// remove forgets a place, and so all below it.
func (t *tree) remove(p uint32) {
	t.places.at(p).removed = true
	if p == t.top {
		return
	}
	at := &t.table[t.slot(t.places.at(p).parent, string(t.nameOf(p)))]
	for *at != p {
		at = &t.places.at(*at).next
	}
	*at = t.places.at(p).next
}

// empty takes all that is in a directory.
func (t *tree) empty(dir uint32) {
	was := *t.places.at(dir)
	name := string(t.nameOf(dir))
	t.remove(dir)
	p := t.add(was.parent, name, none)
	if t.places.at(p).bring = was.bring; was.bring != none {
		t.brings.at(was.bring).place = p
	}
	if dir == t.top {
		t.top = p
	}
}

// reachable says of each place whether it can be reached.
func (t *tree) reachable() []bool {
	alive := make([]bool, t.places.n)
	for at := range t.places.n { // a directory stands before what is in it
		p := t.places.at(at)
		alive[at] = !p.removed && (p.parent == none || alive[p.parent])
	}
	return alive
}

// alive says whether a place can still be reached.
func (t *tree) alive(p uint32) bool {
	for ; p != none; p = t.places.at(p).parent {
		if t.places.at(p).removed {
			return false
		}
	}
	return true
}

func (t *tree) isDir(p uint32) bool { return t.places.at(p).inode == none }

// path is the place as a name in a tar, without a slash at either end.
func (t *tree) path(p uint32) string {
	var parts []string
	for ; t.places.at(p).parent != none; p = t.places.at(p).parent {
		parts = append(parts, string(t.nameOf(p)))
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(parts[i])
		if i > 0 {
			b.WriteByte('/')
		}
	}
	return b.String()
}

// Why a directory cannot be reached.
var (
	errNotThere = errors.New("it is not there")
	errLoop     = errors.New("its symbolic links go round in a circle")
	errDeep     = fmt.Errorf("its directories are nested deeper than %d", maxDepth)
)

// maxFollowed is how many symbolic links on the way to one name are followed, as
// in Linux.
const maxFollowed = 40

// maxDepth bounds directories within directories: more than any path reaches, and
// few enough to be gone up for each entry.
const maxDepth = maxPath

// walk is the directory of a place. With create, what is missing is made and what
// is no directory gives way to one.
func (t *tree) walk(dir string, create bool) (uint32, error) {
	at, links := t.top, 0
	for dir != "" {
		name, rest, _ := strings.Cut(dir, "/")
		dir = rest
		switch name {
		case "", ".":
			continue
		case "..":
			if at != t.top {
				at = t.places.at(at).parent
			}
			continue
		}
		p := t.find(at, name)
		switch {
		case p != none && t.isDir(p):
			at = p
			continue
		case p != none && t.inodes.at(t.places.at(p).inode).link:
			if links++; links > maxFollowed {
				return none, errLoop
			}
			n := t.inodes.at(t.places.at(p).inode)
			target := string(t.text(n.target, n.length))
			if strings.HasPrefix(target, "/") {
				at = t.top
			}
			dir = target + "/" + dir
			continue
		case !create:
			return none, errNotThere
		case p != none:
			t.remove(p)
		}
		if t.places.at(at).depth >= maxDepth {
			return none, errDeep
		}
		if err := t.full(); err != nil { // one name may lead through 2000 directories
			return none, err
		}
		at = t.add(at, name, none)
	}
	return at, nil
}

// full says that no place can be added any more.
func (t *tree) full() error {
	if t.most == 0 || int64(t.places.n) <= t.most { // the top is none of them
		return nil
	}
	return fmt.Errorf("more than %d files and directories: %w (raise it with --max-entries)", t.most, pipeline.ErrLimit)
}

// layerOf is the layer of an entry.
func (t *tree) layerOf(b uint32) int {
	n := len(t.starts) - 1
	for t.starts[n] > b {
		n--
	}
	return n
}

func (t *tree) newInode(h *tarstream.Header) uint32 {
	n := inode{bring: t.brings.n, heir: none}
	if h.Type == tarstream.TypeSymlink {
		n.link, n.target, n.length = true, t.keep(h.Linkname), uint16(len(h.Linkname))
	}
	return t.inodes.add(n)
}
