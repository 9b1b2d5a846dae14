package filter

import (
	"strings"
	"unicode/utf8"
)

// A glob is one pattern by the rules of Python's fnmatch: * and ? match a slash
// too, [abc] and [!abc] are sets, nothing escapes, an unclosed [ stands for
// itself, both ends are anchored, case matters. Beyond those rules, "**/" at
// the start or after a slash also matches nothing.
//
// Names are bytes; what is valid UTF-8 counts as one character, any other byte
// as a character of its own, as in Python.
//
// A pattern is cut at its gaps (*, **/) into pieces. Each piece is taken at the
// first place where it fits, the last one at the end of the name, so nothing is
// ever tried again: a name costs at most its length times the pattern's.
type glob struct {
	pieces []piece
}

// A piece is what stands between two gaps of a pattern.
type piece struct {
	gap  gap // before it
	want []element
}

// A gap says where a piece may start.
type gap int

const (
	here     gap = iota // where the piece before ended
	anywhere            // there or later: *
	deeper              // there or later, after a slash: **/
)

// An element is a literal or, with a set, one character.
type element struct {
	literal string
	set     *charset
}

// match says whether the pattern matches the whole name, and how many elements
// were compared on the way.
func (g *glob) match(name string) (ok bool, steps int) {
	last := len(g.pieces) - 1
	tail := g.pieces[last]
	start, steps := tail.matchEnd(name)
	if start < 0 {
		return false, steps
	}
	pos := 0
	for _, p := range g.pieces[:last] {
		var n int
		pos, n = p.find(name, pos)
		steps += n
		if pos < 0 {
			return false, steps
		}
	}
	switch tail.gap {
	case anywhere:
		return start >= pos, steps
	case deeper:
		return start == pos || start > pos && name[start-1] == '/', steps
	case here:
	}
	return start == pos, steps
}

// find returns the end of the first fit at or after pos; -1 for none.
func (p *piece) find(name string, pos int) (end, steps int) {
	for {
		end, n := p.matchAt(name, pos)
		if steps += n; end >= 0 || p.gap == here {
			return end, steps
		}
		pos = p.next(name, pos)
		if pos < 0 {
			return -1, steps
		}
	}
}

// next is the next place after pos where the piece may start; -1 for none.
func (p *piece) next(name string, pos int) int {
	if pos >= len(name) {
		return -1
	}
	if p.gap == deeper {
		i := strings.IndexByte(name[pos:], '/')
		if i < 0 {
			return -1
		}
		return pos + i + 1
	}
	_, n := char(name[pos:])
	pos += n
	if first := p.want[0]; first.set == nil {
		i := strings.Index(name[pos:], first.literal)
		if i < 0 {
			return -1
		}
		return pos + i
	}
	return pos
}

// matchAt returns where a fit that starts at pos ends; -1 for no fit.
func (p *piece) matchAt(name string, pos int) (end, steps int) {
	for _, w := range p.want {
		steps++
		if w.set == nil {
			if !strings.HasPrefix(name[pos:], w.literal) {
				return -1, steps
			}
			pos += len(w.literal)
			continue
		}
		r, n := char(name[pos:])
		if n == 0 || !w.set.has(r) {
			return -1, steps
		}
		pos += n
	}
	return pos, steps
}

// matchEnd returns where a fit that ends with the name starts; -1 for no fit.
func (p *piece) matchEnd(name string) (start, steps int) {
	for i := len(p.want) - 1; i >= 0; i-- {
		w := p.want[i]
		steps++
		if w.set == nil {
			if !strings.HasSuffix(name, w.literal) {
				return -1, steps
			}
			name = name[:len(name)-len(w.literal)]
			continue
		}
		r, n := lastChar(name)
		if n == 0 || !w.set.has(r) {
			return -1, steps
		}
		name = name[:len(name)-n]
	}
	return len(name), steps
}

// strayByte is where bytes that are not UTF-8 lie among the characters: Python
// gives them these code points, which no UTF-8 can stand for.
const strayByte = 0xdc00

func isStray(r rune) bool { return r >= strayByte && r <= strayByte|0xff }

// char is the first character of s; n is 0 at the end.
func char(s string) (r rune, n int) {
	r, n = utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		r = strayByte | rune(s[0])
	}
	return r, n
}

// lastChar is the last character of s. UTF-8 synchronises itself, so that this
// sees the same characters as char does from the start.
func lastChar(s string) (r rune, n int) {
	r, n = utf8.DecodeLastRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		r = strayByte | rune(s[len(s)-1])
	}
	return r, n
}
