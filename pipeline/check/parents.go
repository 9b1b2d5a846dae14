package check

import (
	"bytes"
	"hash/maphash"
	"math/bits"
)

// A hasher makes a hash of a place from those of its elements, so that to know
// all directories above a name costs one look at the name. The seed is secret:
// nobody can look for two places with one hash.
type hasher struct{ seed maphash.Seed }

// below is the hash of an element in a directory.
func (s hasher) below(dir uint64, element []byte) uint64 {
	const odd = 0x9e3779b97f4a7c15
	return bits.RotateLeft64(dir*odd+1, 29) ^ maphash.Bytes(s.seed, element)
}

// hash is that of a place; the root's is 0.
func (s hasher) hash(place []byte) (h uint64) {
	for len(place) > 0 {
		element, rest, _ := bytes.Cut(place, slash)
		h, place = s.below(h, element), rest
	}
	return h
}

func (s hasher) hashOf(place string) uint64 { return s.hash([]byte(place)) }

var slash = []byte{'/'}

// hiding is what hides the content of a directory: a layer counted from 1, and
// how.
type hiding struct {
	by  uint32
	how string
}

// parents remembers what was found out of the directories above the last name,
// the root first. The entries of a tar come directory by directory, so of most
// names there is nothing to find out.
type parents struct {
	hasher
	path   []byte // the last name's directory
	levels []level
}

// level is one directory: path up to end.
type level struct {
	end  int
	hash uint64
	is   hiding
}

func (p *parents) forget() { p.path, p.levels = p.path[:0], p.levels[:0] }

// of is what holds for the directory of a name: ask is asked for each directory
// that is not known, with the answer for the one above.
func (p *parents) of(name []byte, ask func(hash uint64, dir []byte, above hiding) hiding) hiding {
	dir := name[:dirEnd(name)]
	same := 0
	for same < min(len(dir), len(p.path)) && dir[same] == p.path[same] {
		same++
	}
	for n := len(p.levels); n > 0; n = len(p.levels) {
		if end := p.levels[n-1].end; end <= same && (end == 0 || end == len(dir) || dir[end] == '/') {
			break
		}
		p.levels = p.levels[:n-1]
	}
	if len(p.levels) == 0 {
		p.levels = append(p.levels, level{0, 0, ask(0, nil, hiding{})})
	}
	p.path = append(p.path[:0], dir...)
	top := p.levels[len(p.levels)-1]
	for top.end < len(dir) {
		start := top.end
		if start > 0 {
			start++
		}
		end := len(dir)
		if n := bytes.IndexByte(dir[start:], '/'); n >= 0 {
			end = start + n
		}
		h := p.below(top.hash, dir[start:end])
		top = level{end, h, ask(h, dir[:end], top.is)}
		p.levels = append(p.levels, top)
	}
	return top.is
}

// dirEnd is where the directory of a name ends.
func dirEnd(name []byte) int {
	return max(0, bytes.LastIndexByte(name, '/'))
}
