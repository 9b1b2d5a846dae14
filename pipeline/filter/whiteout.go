package filter

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// The names of whiteouts that are made here.
const (
	whiteoutPrefix = layerpath.WhiteoutPrefix
	opaqueName     = layerpath.OpaqueName
)

// A verdict says what becomes of an entry.
type verdict int

const (
	keeps verdict = iota
	goes
	// unsure: a whiteout hides a path that matches. Were that a directory, it
	// could hold what does not match and would come back.
	unsure
)

// judge says what the patterns do to a name, and what place a whiteout hides.
func (g *globs) judge(name string) (v verdict, hidden string) {
	hidden, opaque, ok := whiteout(place(name))
	switch {
	case !ok && g.matchName(name), opaque && g.removesAll(hidden):
		return goes, hidden
	case !ok, opaque, !g.match(hidden):
		return keeps, hidden
	case g.matchBelow(hidden):
		return goes, hidden
	}
	return unsure, hidden
}

// removesAll says whether a directory goes with all that it can hold. The root
// has no entry that has to go.
func (g *globs) removesAll(dir string) bool {
	return (dir == "" || g.match(dir)) && g.matchBelow(dir)
}

// whiteout takes a place apart: what it hides is a place or, opaque, what a
// directory holds.
func whiteout(at string) (hidden string, opaque, ok bool) {
	hidden, what := layerpath.Whiteout(at)
	return hidden, what == layerpath.HidesContent, what == layerpath.HidesContent || what == layerpath.HidesPlace
}

// canHide says whether an entry took a place for itself alone, so that nothing
// of the layers below was seen there. A directory adds to theirs, and whiteouts
// are no files.
func canHide(h *tarstream.Header) bool {
	at := place(h.Name)
	return h.Type != tarstream.TypeDir && at != "" && !strings.HasPrefix(baseOf(at), whiteoutPrefix)
}

// blank is a tar of one empty file without mode, owner and time. The name is
// one that no whiteout has, so that each one made from it is edited.
var blank = sync.OnceValues(func() ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: whiteoutPrefix, Format: tar.FormatUSTAR})
	if err != nil {
		return nil, err
	}
	return b.Bytes(), w.Flush()
})

// hide passes on a whiteout of a place, which depends on nothing but the place
// and the time.
func hide(at string, modTime time.Time, next tarstream.Handler) error {
	b, err := blank()
	if err != nil {
		return fmt.Errorf("make whiteout: %w", err)
	}
	return tarstream.Read(bytes.NewReader(b), 0, visitor(func(e *tarstream.Entry) error {
		h := e.Edit()
		h.Name = join(parentOf(at), whiteoutPrefix+baseOf(at))
		h.ModTime = modTime
		return next.Entry(e)
	}))
}
