package filter

import (
	"bytes"
	"sync"
)

const (
	// scanSize is how much of a file is looked at together, and the longest line
	// that is looked at as one. Longer ones are looked at in pieces of this size
	// that overlap by half.
	scanSize = 128 << 10
	// maxLines and maxText bound what is remembered of one file.
	maxLines = 100
	maxText  = 256
)

// A lineFinder finds the first match in whole lines; nil for none.
type lineFinder struct {
	find func(lines []byte) []int
	// spans: a match may reach over the end of a line, where it is none.
	spans bool
}

// A scanner looks for lines in a file, written to it from the start, as grep
// does: a match is within one line, and in a file with NULs, which is no text,
// one match is enough. A NUL ends a line, too.
type scanner struct {
	*lineFinder
	m      *SearchMatch
	buf    *[scanSize]byte
	n      int   // bytes in buf
	offset int64 // of buf in the file
	lines  int64 // before buf
	inside bool  // buf begins within a line that was too long
	binary bool
	full   bool // nothing more is wanted
}

var scanBuffers = sync.Pool{New: func() any { return new([scanSize]byte) }}

func newScanner(f *lineFinder, m *SearchMatch) *scanner {
	return &scanner{lineFinder: f, m: m, buf: scanBuffers.Get().(*[scanSize]byte)}
}

// release gives the buffer back.
func (s *scanner) release() {
	if s.buf != nil {
		scanBuffers.Put(s.buf)
		s.buf, s.full = nil, true
	}
}

// Write takes the next bytes of the file; it never fails.
func (s *scanner) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && !s.full; {
		n := copy(s.buf[s.n:], rest)
		s.text(s.buf[s.n : s.n+n])
		s.n, rest = s.n+n, rest[n:]
		if s.n == scanSize {
			s.scanLines()
		}
	}
	return len(p), nil
}

// end takes what is left for the last line.
func (s *scanner) end() {
	if s.n > 0 && !s.full {
		s.scan(s.buf[:s.n])
	}
}

// text makes lines of what is between NULs.
func (s *scanner) text(b []byte) {
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return
		}
		s.binary = true
		for i < len(b) && b[i] == 0 {
			b[i] = '\n'
			i++
		}
		b = b[i:]
	}
}

// scanLines looks at the whole lines of a full buffer and keeps the rest.
func (s *scanner) scanLines() {
	end := bytes.LastIndexByte(s.buf[:], '\n') + 1
	next := end
	if end == 0 {
		end, next = scanSize, scanSize/2
	}
	s.scan(s.buf[:end])
	if next == end {
		s.inside = false
		s.lines += int64(bytes.Count(s.buf[:end], []byte{'\n'}))
	} else {
		s.inside = true
	}
	s.n = copy(s.buf[:], s.buf[next:])
	s.offset += int64(next)
}

// scan looks at a block of lines.
func (s *scanner) scan(b []byte) {
	byOne := false
	for at := 0; at < len(b) && !s.full; {
		in := b[at:]
		if byOne {
			in = in[:lineEnd(in)]
		}
		loc := s.find(in)
		if loc == nil {
			if !byOne {
				return
			}
			at += len(in) + 1
			continue
		}
		start := at + bytes.LastIndexByte(in[:loc[0]], '\n') + 1
		end := at + loc[0] + lineEnd(in[loc[0]:])
		if s.spans && at+loc[1] > end || at+loc[0] > end {
			// What fits over lines may hide a match within one: from here on
			// each is looked at by itself.
			at, byOne = start, true
			continue
		}
		if end == len(b) && start == len(b) {
			return // behind the last line is none
		}
		s.found(b, start, at+loc[0], end)
		at = end + 1
	}
}

// lineEnd is where the first line of b ends.
func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i
	}
	return len(b)
}

// found notes a match at a place in the line from start to end.
func (s *scanner) found(b []byte, start, at, end int) {
	switch {
	case s.binary:
		s.m.Binary, s.full = true, true
		return
	case len(s.m.Lines) == maxLines:
		s.m.More, s.full = true, true
		return
	}
	line := SearchLine{
		Number: s.lines + int64(bytes.Count(b[:start], []byte{'\n'})) + 1,
		Offset: s.offset + int64(at),
		Cut:    s.inside && start == 0,
	}
	if n := len(s.m.Lines); n > 0 && s.m.Lines[n-1].Number == line.Number {
		return // the same long line, in another piece
	}
	from, to := start, end
	if to-from > maxText {
		from = max(start, min(at-maxText/4, end-maxText))
		to, line.Cut = from+maxText, true
	}
	line.Text = bytes.TrimSuffix(bytes.Clone(b[from:to]), []byte{'\r'})
	s.m.Lines = append(s.m.Lines, line)
}
