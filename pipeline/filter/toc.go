package filter

import (
	"io"
	"strings"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// tocName is the entry with which an eStargz layer lists its other entries,
// their times and where in the blob each starts (stargz-snapshotter,
// docs/estargz.md). That of zstd:chunked is no part of the tar.
const tocName = "stargz.index.json"

// isTOC says whether an entry is a layer's table of contents.
func isTOC(h *tarstream.Header) bool { return h.IsRegular() && tidy(h.Name) == tocName }

// tocGuard stands behind a filter and drops the layer's table of contents once
// the filter changed anything before it: it would lie. Landmarks
// (.prefetch.landmark, .no.prefetch.landmark) are kept: they state nothing
// about other entries, nobody looks at them without a table, and they come
// before it is known whether anything changes.
type tocGuard struct {
	next    tarstream.Handler
	changed bool // an entry was edited, removed or inserted
	told    bool // next has seen an entry since
}

var _ tarstream.Handler = (*tocGuard)(nil)

// Entry passes on all but a table of contents that lies.
func (g *tocGuard) Entry(e *tarstream.Entry) error {
	if isTOC(e.Header()) {
		if g.changed {
			return nil
		}
		return g.next.Entry(e)
	}
	if !g.changed && e.Edited() {
		g.changed = true
	}
	g.told = g.changed
	return g.next.Entry(e)
}

// End cuts off a table of contents that stands behind the end-of-archive
// blocks, where containers/storage puts it. Where all that changed is that the
// last entries are missing, next learns it from the rest and needs it whole;
// nobody finds a table there once the layer is compressed anew.
func (g *tocGuard) End(rest io.Reader) error {
	if !g.told {
		return g.next.End(rest)
	}
	return g.next.End(&untilTOC{r: rest})
}

const tarBlock = 512

// untilTOC reads r up to the header block of a table of contents.
type untilTOC struct {
	r     io.Reader
	block [tarBlock]byte
	left  []byte // of block
	text  bool   // something other than zeros came: it is not ours to judge
	err   error
}

func (u *untilTOC) Read(p []byte) (int, error) {
	if len(u.left) == 0 && u.err == nil {
		u.fill()
	}
	if len(u.left) == 0 {
		return 0, u.err
	}
	n := copy(p, u.left)
	u.left = u.left[n:]
	return n, nil
}

func (u *untilTOC) fill() {
	n, err := io.ReadFull(u.r, u.block[:])
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	u.left, u.err = u.block[:n], err
	if u.text || n < tarBlock || u.block == [tarBlock]byte{} {
		return
	}
	u.text = true
	name, _, _ := strings.Cut(string(u.block[:100]), "\x00")
	if tidy(name) == tocName {
		u.left, u.err = nil, io.EOF
	}
}
