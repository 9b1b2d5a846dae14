package deflate

import "math/bits"

// Decoding looks up the next bits of the stream in a table and finds everything
// about the symbol that they begin with in one entry:
//
//	31    30…16              15…13   11…8         5…0
//	1     –                  –       byte 15…8    bits of the code            a literal
//	0     base               0       bits of code bits of code and extra      a length or distance
//	0     index of subtable  entryExceptional|entrySub, index bits, table bits
//	0     –                  entryExceptional|entryEnd        bits of code    end of block
//	0     –                  entryExceptional                                 no code
const (
	litBits  = 11
	distBits = 9

	entryLiteral     = 1 << 31
	entryExceptional = 1 << 15
	entrySub         = 1 << 14
	entryEnd         = 1 << 13

	// The most subtable entries that codes of 288 symbols (32) and 15 bits can
	// need: zlib's enough.c says 2342-2048 for 11 bits and far less for 9.
	litSubSize  = 1024
	distSubSize = 512
)

// tables decode the codes of one block.
type tables struct {
	lit     [1 << litBits]uint32
	dist    [1 << distBits]uint32
	litSub  [litSubSize]uint32
	distSub [distSubSize]uint32
}

// alphabet says what entries a code's symbols have: proto, and step for every bit
// of the code.
type alphabet struct {
	proto [288]uint32
	step  uint32
}

const (
	stepOnce  = 1        // the code's bits count once
	stepTwice = 1 | 1<<8 // they stand in both fields
)

var litAlphabet, distAlphabet, codeAlphabet = func() (lit, dist, code alphabet) {
	lit.step, dist.step, code.step = stepTwice, stepTwice, stepTwice
	for s := range lit.proto {
		lit.proto[s], dist.proto[s], code.proto[s] = entryExceptional, entryExceptional, entryExceptional
		switch {
		case s < endOfBlock:
			lit.proto[s] = entryLiteral | uint32(s)<<8
		case s == endOfBlock:
			lit.proto[s] = entryExceptional | entryEnd
		case s < litSymbols:
			lit.proto[s] = uint32(lengthBase[s-firstLength])<<16 | uint32(lengthExtra[s-firstLength])
		}
		if s < distSymbols {
			dist.proto[s] = uint32(distBase[s])<<16 | uint32(distExtra[s])
		}
		if s < len(codeOrder) {
			code.proto[s] = uint32(s) << 16
		}
	}
	return lit, dist, code
}()

// entry is that of a symbol whose code has n bits in this table.
func (a *alphabet) entry(symbol uint16, n int) uint32 {
	p := a.proto[symbol]
	if p&(entryLiteral|entryExceptional) != 0 {
		return p + uint32(n)*stepOnce
	}
	return p + uint32(n)*a.step
}

// build fills the tables; false says that the lengths make no code.
func (t *tables) build(l *lengths) bool {
	return buildTable(t.lit[:], t.litSub[:], l.lit[:], &litAlphabet) &&
		buildTable(t.dist[:], t.distSub[:], l.dist[:], &distAlphabet)
}

var fixedTables = func() *tables {
	t := &tables{}
	t.build(fixedLengths)
	return t
}()

// A canonical code gives its words in the order of length, then symbol (3.2.2),
// and a table is indexed by words in reversed bits.
type canonical struct {
	count  [maxCodeBits + 1]int
	sorted [288]uint16 // symbols in the order of their words
	n      int
}

func (c *canonical) sort(lens []uint8) {
	for _, l := range lens {
		c.count[l]++
	}
	var at [maxCodeBits + 2]int
	for l := 1; l <= maxCodeBits; l++ {
		at[l+1] = at[l] + c.count[l]
	}
	for s, l := range lens {
		if l != 0 {
			c.sorted[at[l]] = uint16(s)
			at[l]++
		}
	}
	c.n = len(lens) - c.count[0]
}

// space is how much of all words of 15 bits the code takes.
func (c *canonical) space() (sum int) {
	for l := 1; l <= maxCodeBits; l++ {
		sum += c.count[l] << (maxCodeBits - l)
	}
	return sum
}

// buildTable fills a table and its subtables. A code must be complete, or have
// one word of one bit, or none: what Go's compress/flate takes, and zlib but for
// the code-length code.
func buildTable(tab, sub []uint32, lens []uint8, a *alphabet) bool {
	var c canonical
	c.sort(lens)
	switch space := c.space(); {
	case c.n == 0:
		fill(tab, entryExceptional)
		return true
	case c.n == 1 && c.count[1] == 1:
		fill(tab, entryExceptional)
		for i := 0; i < len(tab); i += 2 {
			tab[i] = a.entry(c.sorted[0], 1)
		}
		return true
	case space != 1<<maxCodeBits:
		return false
	}
	rest, word, length := c.short(tab, a)
	return rest == c.n || c.long(tab, sub, a, rest, word, length)
}

func fill(tab []uint32, e uint32) {
	for i := range tab {
		tab[i] = e
	}
}

// short enters the words that fit the table's index. The table starts small and
// is doubled with the length of the words. It returns the first symbol that is
// left, its word and length.
func (c *canonical) short(tab []uint32, a *alphabet) (next, word, length int) {
	width := bits.Len(uint(len(tab))) - 1
	size := 1
	for length = 1; length <= width; length++ {
		copy(tab[size:2*size], tab[:size])
		size *= 2
		for range c.count[length] {
			tab[word] = a.entry(c.sorted[next], length)
			next++
			if next == c.n {
				for ; size < len(tab); size *= 2 {
					copy(tab[size:2*size], tab[:size])
				}
				return next, 0, 0
			}
			word = following(word, length)
		}
	}
	return next, word, length
}

// following is the next word of the same length, in reversed bits: plus one from
// the other side.
func following(word, length int) int {
	top := 1 << (bits.Len(uint(word^(1<<length-1))) - 1)
	return word&(top-1) | top
}

// long enters the other words in subtables, one for each beginning.
func (c *canonical) long(tab, sub []uint32, a *alphabet, next, word, length int) bool {
	width := bits.Len(uint(len(tab))) - 1
	left := 0
	if length <= maxCodeBits {
		left = c.count[length]
	}
	prefix, start, end := -1, 0, 0
	for ; next < c.n; next++ {
		for left == 0 {
			length++
			left = c.count[length]
		}
		if word&(len(tab)-1) != prefix {
			prefix = word & (len(tab) - 1)
			width2 := c.subWidth(length-width, left, width)
			start, end = end, end+1<<width2
			if end > len(sub) {
				return false
			}
			tab[prefix] = uint32(start)<<16 | entryExceptional | entrySub | uint32(width2)<<8 | uint32(width)
		}
		e := a.entry(c.sorted[next], length-width)
		for i := start + word>>width; i < end; i += 1 << (length - width) {
			sub[i] = e
		}
		left--
		if next+1 < c.n {
			word = following(word, length)
		}
	}
	return true
}

// subWidth is how wide a subtable must be that starts with words of width+n bits,
// of which left are left.
func (c *canonical) subWidth(n, left, width int) int {
	for used := left; used < 1<<n && n+width < maxCodeBits; {
		n++
		used = used<<1 + c.count[width+n]
	}
	return n
}
