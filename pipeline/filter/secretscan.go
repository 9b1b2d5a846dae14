package filter

import (
	"bytes"
	"regexp"
	"sync"
)

// A foundSecret says what is where, and never what it reads.
type foundSecret struct {
	what string
	line int64 // from 1
}

// A secretScanner looks for secrets in a file that is written to it from the
// start, whatever its size, in one buffer:
//
//	bytes ─▶ literals (Wu and Manber) ─▶ secretRule.form ─▶ looksRandom
//
// Of each rule the first secret is told.
type secretScanner struct {
	buf   *[scanSize]byte
	table *literalTable
	n     int   // bytes in buf
	from  int   // what stands before has been looked at
	lines int64 // that ended before buf
	found []foundSecret

	base string     // last part of its name
	file *loginFile // nil: its name says nothing
	head []byte     // of that
}

func newSecretScanner(place string) *secretScanner {
	return &secretScanner{buf: scanBuffers.Get().(*[scanSize]byte), table: literals(), base: baseOf(place), file: loginFileOf(place)}
}

// release gives the buffer back.
func (s *secretScanner) release() {
	scanBuffers.Put(s.buf)
	s.buf = nil
}

// Write takes the next bytes of the file; it never fails.
func (s *secretScanner) Write(p []byte) (int, error) {
	if s.file != nil {
		s.head = append(s.head, p[:min(len(p), maxLogins-len(s.head))]...)
	}
	for rest := p; len(rest) > 0; {
		n := copy(s.buf[s.n:], rest)
		s.n, rest = s.n+n, rest[n:]
		if s.n == scanSize {
			s.slide()
		}
	}
	return len(p), nil
}

// slide looks at a full buffer and keeps what a secret may need that begins in
// what follows: a window, and one byte to see whether it begins a word.
func (s *secretScanner) slide() {
	const end = scanSize - secretWindow
	s.scan(s.buf[:], end)
	s.lines += int64(bytes.Count(s.buf[:end-1], []byte{'\n'}))
	s.n = copy(s.buf[:], s.buf[end-1:])
	s.from = 1
}

// end looks at the rest and returns what was found.
func (s *secretScanner) end() []foundSecret {
	s.scan(s.buf[:s.n], s.n)
	if s.file == nil {
		return s.found
	}
	if at := s.file.login.FindIndex(s.head); at != nil {
		s.found = append(s.found, foundSecret{s.file.what, int64(bytes.Count(s.head[:at[1]], []byte{'\n'})) + 1})
	}
	return s.found
}

// scan looks for secrets that begin before an end.
func (s *secretScanner) scan(b []byte, end int) {
	for i := s.from; i < end && i+literalSize <= len(b); {
		k := blockOf(b[i+1:])
		if skip := int(s.table.skip[k]); skip > 0 {
			i += skip
			continue
		}
		for _, l := range s.table.ending[k] {
			if l.matches(b, i) && !l.rule.knownIn(s.base) {
				s.tell(l.rule.what, b[:i])
			}
		}
		i++
	}
}

func (s *secretScanner) tell(what string, before []byte) {
	for _, f := range s.found {
		if f.what == what {
			return
		}
	}
	s.found = append(s.found, foundSecret{what, s.lines + int64(bytes.Count(before, []byte{'\n'})) + 1})
}

// literalSize is how much of each literal is looked for: two pairs of bytes
// that overlap.
const literalSize = 3

// A literalTable says, for a pair of bytes, how far the next literal can be
// (skip) or, where that is no distance, which ones may have begun a byte before.
type literalTable struct {
	skip   [1 << 16]uint8
	ending map[uint16][]*secretLiteral
}

// A secretLiteral is how a secret may begin.
type secretLiteral struct {
	text []byte
	rule *secretRule
	form *regexp.Regexp
}

// literals is the table of all secretForms.
var literals = sync.OnceValue(func() *literalTable {
	t := &literalTable{ending: map[uint16][]*secretLiteral{}}
	for i := range t.skip {
		t.skip[i] = literalSize - 1
	}
	for i := range secretForms {
		rule := &secretForms[i]
		form := regexp.MustCompile(rule.form)
		for _, s := range rule.literals {
			l := &secretLiteral{[]byte(s), rule, form}
			first, last := blockOf(l.text), blockOf(l.text[1:])
			t.skip[first] = min(t.skip[first], 1)
			t.skip[last] = 0
			t.ending[last] = append(t.ending[last], l)
		}
	}
	return t
})

func blockOf(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
