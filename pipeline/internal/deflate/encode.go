package deflate

import "math/bits"

// words are the codes of a block as they are written: reversed, since deflate
// packs them from the lowest bit on.
type words struct {
	lit  [288]uint16
	dist [32]uint16
}

func (w *words) set(l *lengths) {
	canonicalWords(l.lit[:], w.lit[:])
	canonicalWords(l.dist[:], w.dist[:])
}

// fixedWords are those of a block with fixed codes.
var fixedWords = func() *words {
	w := &words{}
	w.set(fixedLengths)
	return w
}()

// canonicalWords gives every symbol its word (RFC 1951, 3.2.2).
func canonicalWords(lens []uint8, out []uint16) {
	var count, next [maxCodeBits + 1]uint16
	for _, l := range lens {
		count[l]++
	}
	count[0] = 0
	for l := 1; l <= maxCodeBits; l++ {
		next[l] = (next[l-1] + count[l-1]) << 1
	}
	for s, l := range lens {
		if l != 0 {
			out[s] = bits.Reverse16(next[l]) >> (16 - l)
			next[l]++
		}
	}
}

// token writes a token, all of whose symbols have words.
func (w *bitWriter) token(t token, l *lengths, c *words) {
	if t.length == 0 {
		w.bits(uint64(c.lit[t.value]), uint(l.lit[t.value]))
		return
	}
	s := lengthSymbols[t.length]
	n := uint(l.lit[s])
	v := uint64(c.lit[s]) | uint64(t.length-lengthBase[s-firstLength])<<n
	n += uint(lengthExtra[s-firstLength])
	d := t.distance()
	ds := distSymbol(d)
	v |= uint64(c.dist[ds]) << n
	n += uint(l.dist[ds])
	v |= uint64(d-int(distBase[ds])) << n
	n += uint(distExtra[ds])
	w.bits(v, n)
}

// cost is how many bits a match takes; false: a symbol of it has no word.
func (l *lengths) cost(length, distance int) (bits int, ok bool) {
	s, ds := lengthSymbols[length], distSymbol(distance)
	if l.lit[s] == 0 || l.dist[ds] == 0 {
		return 0, false
	}
	return int(l.lit[s]) + int(lengthExtra[s-firstLength]) + int(l.dist[ds]) + int(distExtra[ds]), true
}

// endBlock writes the end of a block.
func (w *bitWriter) endBlock(l *lengths, c *words) {
	w.bits(uint64(c.lit[endOfBlock]), uint(l.lit[endOfBlock]))
}
