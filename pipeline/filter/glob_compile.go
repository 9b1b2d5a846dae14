package filter

import (
	"slices"
	"unicode/utf8"
)

// compileGlob reads a pattern. There are no bad patterns.
func compileGlob(pattern string) *glob {
	c := &compiler{pieces: []piece{{}}}
	var rs []rune
	for s := pattern; s != ""; {
		r, n := char(s)
		rs, s = append(rs, r), s[n:]
	}
	slash := true // the start counts as one
	for i := 0; i < len(rs); {
		switch rs[i] {
		case '*':
			n := stars(rs[i:])
			if n == 2 && slash && i+2 < len(rs) && rs[i+2] == '/' {
				c.gap(deeper)
				i += 3
				continue // what follows stands after a slash, too
			}
			c.gap(anywhere)
			i += n
		case '?':
			c.one(&charset{not: true})
			i++
		case '[':
			set, n := parseSet(rs[i+1:])
			if n == 0 {
				c.literal('[')
			} else {
				c.one(set)
			}
			i += 1 + n
		default:
			c.literal(rs[i])
			slash = rs[i] == '/'
			i++
			continue
		}
		slash = false
	}
	return &glob{pieces: c.pieces}
}

func stars(rs []rune) int {
	if n := slices.IndexFunc(rs, func(r rune) bool { return r != '*' }); n >= 0 {
		return n
	}
	return len(rs)
}

// compiler collects the pieces of a pattern.
type compiler struct{ pieces []piece }

func (c *compiler) last() *piece { return &c.pieces[len(c.pieces)-1] }

// gap starts a new piece. Gaps with nothing between them are one: the wider.
func (c *compiler) gap(g gap) {
	last := c.last()
	switch {
	case len(last.want) > 0 || last.gap == here:
		c.pieces = append(c.pieces, piece{gap: g})
	case g == anywhere:
		last.gap = anywhere
	}
}

func (c *compiler) one(set *charset) {
	last := c.last()
	last.want = append(last.want, element{set: set})
}

func (c *compiler) literal(r rune) {
	if isStray(r) { // must not match within a character
		c.one(&charset{ranges: []span{{r, r}}})
		return
	}
	last := c.last()
	if n := len(last.want); n > 0 && last.want[n-1].set == nil {
		last.want[n-1].literal += string(utf8.AppendRune(nil, r))
		return
	}
	last.want = append(last.want, element{literal: string(r)})
}

// A charset is the meaning of [...].
type charset struct {
	not    bool
	ranges []span
}

// A span is a range of characters, both ends included.
type span struct{ from, to rune }

func (s *charset) has(r rune) bool {
	return s.not != slices.ContainsFunc(s.ranges, func(x span) bool { return x.from <= r && r <= x.to })
}

// parseSet reads what follows a "[" and returns how many characters it took;
// none when no "]" closes it. "]" comes first to stand for itself.
func parseSet(rs []rune) (s *charset, n int) {
	s = &charset{}
	i := 0
	if i < len(rs) && rs[i] == '!' {
		s.not = true
		i++
	}
	from := i
	if i < len(rs) && rs[i] == ']' {
		i++
	}
	end := slices.Index(rs[min(i, len(rs)):], ']')
	if end < 0 {
		return nil, 0
	}
	end += i
	s.ranges = parseRanges(rs[from:end])
	return s, end + 1
}

// parseRanges reads the inside of a set. A "-" is itself first, last and after
// a range; a range whose ends are in the wrong order is empty.
func parseRanges(rs []rune) []span {
	var out []span
	for i := 0; i < len(rs); {
		if i+2 < len(rs) && rs[i+1] == '-' {
			if rs[i] <= rs[i+2] {
				out = append(out, span{rs[i], rs[i+2]})
			}
			i += 3
			continue
		}
		out = append(out, span{rs[i], rs[i]})
		i++
	}
	return out
}
