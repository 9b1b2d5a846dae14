// Package rootfs unpacks the layers of an image, the lowest first, into one
// directory, as a container would see them.
//
// A layer is a stranger's: no name, link, device or whiteout of it reaches outside
// the directory. The kernel is only ever handed one component of a name at a time,
// together with an open directory, and told not to follow links; links and ".." are
// followed here, and end at the directory as they would in a container.
//
//	layer.tar ─▶ 1. whiteouts (whiteout.go) remove what lower layers put there
//	          ─▶ 2. entries (entry.go) ─▶ contents, several at once (content.go)
//	Finish    ─▶ owner, mode and times of directories, the innermost first
//
// What it leaves to others: compression, digests, where the tree is published.
package rootfs

import (
	"fmt"
	"strings"
	"sync"
)

// Options bound what a layer may cost. A zero field is no bound.
type Options struct {
	// Entries is the largest number of entries in one layer.
	Entries int64
	// Sparse is the largest number of bytes, holes included, that the sparse files
	// of one layer may have together.
	Sparse int64
	// Visible keeps whiteouts as the files that they are in the layer: for one
	// layer by itself.
	Visible bool
	// Marks is for one layer by itself as overlayfs has it in a directory of its own:
	// whiteouts are overlayfs's marks. Only root can make them (Tree.Stream).
	Marks bool
	// Lowest is for Marks: there is nothing below that could be hidden.
	Lowest bool
	// Overlay is for directories that are mounts of overlayfs. Directories of lower
	// layers are put aside there, see Trash, and made anew where they are emptied:
	// overlayfs has marks for both, in place of one for each file.
	Overlay bool
}

// LeftOut is what was not done because this user may not do it, or the file
// system cannot.
type LeftOut struct {
	mu    sync.Mutex
	kinds []leftKind
	more  int // of kinds beyond maxKinds
}

// maxKinds is how many kinds are told apart: a layer may name any number of
// attributes.
const maxKinds = 20

type leftKind struct {
	what, first string
	n           int
}

func (l *LeftOut) add(what, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.kinds {
		if l.kinds[i].what == what {
			l.kinds[i].n++
			return
		}
	}
	if len(l.kinds) == maxKinds {
		l.more++
		return
	}
	l.kinds = append(l.kinds, leftKind{what, short(name), 1})
}

// String says what was left out, for the user; "" for nothing.
func (l *LeftOut) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var parts []string
	for _, k := range l.kinds {
		if k.n == 1 {
			parts = append(parts, k.what+": "+k.first)
			continue
		}
		parts = append(parts, fmt.Sprintf("%s: %d, the first is %s", k.what, k.n, k.first))
	}
	if l.more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", l.more))
	}
	return strings.Join(parts, "; ")
}

// enough of a name is what fits into a message.
const enough = 120

// short is a name as it fits into a message.
func short(name string) string {
	if len(name) > enough {
		name = name[:enough] + "…"
	}
	if q := fmt.Sprintf("%q", name); q != `"`+name+`"` {
		return q
	}
	return name
}
