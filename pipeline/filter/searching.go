package filter

import (
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A finding is what a search saw in one layer.
type finding struct {
	matches []SearchMatch
	trace   trace
	diffID  digest.Digest // of the tar at this place; "" for unknown
	changed bool          // by an earlier filter
	err     error         // why the layer could not be read

	filtered bool          // an earlier filter may have changed the tar
	here     digest.Digest // of what it left; "" where Done tells
}

// searching is searcher at work on one layer.
type searching struct {
	*finding
	find finder
	next tarstream.Handler
	sum  *tarstream.Sum // next, where the tar may be another than the source's
}

var _ tarstream.Handler = (*searching)(nil)

// Entry looks at the entry and passes it on.
func (s *searching) Entry(e *tarstream.Entry) error {
	h := e.Header()
	if h.Type == tarstream.TypeGlobal { // it has no name
		return s.next.Entry(e)
	}
	s.trace.add(h)
	if s.find.lines == nil {
		if s.find.name(h.Name) {
			s.matches = append(s.matches, matchOf(h))
		}
		return s.next.Entry(e)
	}
	if !h.IsRegular() || h.Size == 0 {
		return s.next.Entry(e)
	}
	return s.inside(e, matchOf(h))
}

// inside looks at the content of a file while others pass it on.
func (s *searching) inside(e *tarstream.Entry, m SearchMatch) error {
	lines := newScanner(s.find.lines, &m)
	defer lines.release()
	e.Tee(lines)
	if err := s.next.Entry(e); err != nil {
		return err
	}
	if err := e.Drain(); err != nil {
		return err
	}
	if lines.end(); m.Binary || len(m.Lines) > 0 {
		s.matches = append(s.matches, m)
	}
	return nil
}

// End ends the layer.
func (s *searching) End(rest io.Reader) error {
	s.trace.sort()
	if err := s.next.End(rest); err != nil {
		return err
	}
	if s.sum != nil {
		s.here = s.sum.Digest()
	}
	return nil
}

// typeWords are the words of the original for types of entries.
var typeWords = map[byte]string{
	tarstream.TypeLink:    "hardlink",
	tarstream.TypeSymlink: "symlink",
	tarstream.TypeChar:    "character device",
	tarstream.TypeBlock:   "block device",
	tarstream.TypeDir:     "directory",
	tarstream.TypeFifo:    "fifo",
}

func matchOf(h *tarstream.Header) SearchMatch {
	// The header's strings may hold a whole block.
	m := SearchMatch{Path: strings.Clone(stored(h.Name)), Type: "unknown", Size: h.Size}
	if word, ok := typeWords[h.Type]; ok {
		m.Type = word
	} else if h.IsRegular() {
		m.Type = "file"
	}
	if h.Type == tarstream.TypeLink || h.Type == tarstream.TypeSymlink {
		m.Target = strings.Clone(h.Linkname)
	}
	_, _, m.Whiteout = whiteout(place(h.Name))
	return m
}

// stored is a name without the slash that marks a directory.
func stored(name string) string {
	if s := strings.TrimRight(name, "/"); s != "" {
		return s
	}
	return name
}
