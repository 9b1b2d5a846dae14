package check

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
)

// A kind is what an entry of a layer does at its place.
type kind byte

const (
	nothing kind = iota
	file         // a regular file
	other        // neither file nor directory
	dir
	hardlink
	gone   // deletes its place
	opaque // deletes what its place holds below
)

func (k kind) isDir() bool      { return k == dir }
func (k kind) isWhiteout() bool { return k == gone || k == opaque }

// An item is one entry of a roll.
type item struct {
	kind   kind
	size   int64
	name   []byte // its place; valid until the next item
	target []byte // of a hard link
}

// A roll is the names of a layer in their order, each without what it has in
// common with the one before: about a quarter of the names themselves, and no
// pointers.
type roll struct {
	room   *room
	chunks [][]byte
	last   string
	buf    []byte
	count  int
	full   bool // names are missing
}

const (
	chunkSize = 64 << 10
	// What all layers of a run may have remembered. An image of 500,000 files
	// takes about 10 MB.
	maxNames   = 40 << 20
	maxEntries = 1_500_000
)

// room is what is left for the rolls of a run.
type room struct{ bytes, entries atomic.Int64 }

func (r *roll) add(it kind, size int64, name, target string) {
	if r.full {
		return
	}
	b := append(r.buf[:0], byte(it)) //nolint:gocritic // the same buffer again, which it is at the end
	shared := common(r.last, name)
	b = binary.AppendUvarint(b, uint64(size))
	b = binary.AppendUvarint(b, uint64(shared))
	b = binary.AppendUvarint(b, uint64(len(name)-shared))
	b = append(b, name[shared:]...)
	if it == hardlink {
		b = binary.AppendUvarint(b, uint64(len(target)))
		b = append(b, target...)
	}
	r.buf, r.last = b, name
	if r.room.bytes.Add(int64(len(b))) > maxNames || r.room.entries.Add(1) > maxEntries {
		r.full = true
		return
	}
	r.count++
	n := len(r.chunks) - 1
	if n < 0 || len(r.chunks[n])+len(b) > cap(r.chunks[n]) {
		r.chunks = append(r.chunks, make([]byte, 0, max(chunkSize, len(b))))
		n++
	}
	r.chunks[n] = append(r.chunks[n], b...)
}

// end lets go of what adding took. The last name may hold a whole header.
func (r *roll) end() { r.last, r.buf = "", nil }

// common is how many bytes two names begin with alike.
func common(a, b string) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// each shows the items in their order.
func (r *roll) each(see func(n int, it item)) {
	var name []byte
	n := 0
	for _, c := range r.chunks {
		for len(c) > 0 {
			it := item{kind: kind(c[0])}
			c = c[1:]
			number := func() int {
				v, k := binary.Uvarint(c)
				c = c[k:]
				return int(v)
			}
			it.size = int64(number())
			shared := number()
			own := number()
			name = append(name[:shared], c[:own]...)
			c = c[own:]
			it.name = name
			if it.kind == hardlink {
				l := number()
				it.target, c = c[:l], c[l:]
			}
			see(n, it)
			n++
		}
	}
}

// clone keeps a name of a header, whose strings may hold a whole block.
func clone(s string) string { return strings.Clone(s) }
