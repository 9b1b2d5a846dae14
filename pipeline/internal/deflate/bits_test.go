package deflate_test

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// bitStream is a deflate stream that a test writes bit by bit, where compressors
// would not go.
type bitStream struct {
	b   []byte
	acc uint64
	n   uint
}

func (s *bitStream) bits(v uint64, n uint) *bitStream {
	s.acc |= v << s.n
	for s.n += n; s.n >= 8; s.n -= 8 {
		s.b = append(s.b, byte(s.acc))
		s.acc >>= 8
	}
	return s
}

// word writes a Huffman code's word, whose first bit is its highest.
func (s *bitStream) word(v uint64, n uint) {
	s.bits(bits.Reverse64(v)>>((64-n)&63)&(1<<n-1), n)
}

// align fills the byte with these bits.
func (s *bitStream) align(pad uint64) *bitStream {
	if s.n > 0 {
		s.bits(pad&(1<<(8-s.n)-1), 8-s.n)
	}
	return s
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (s *bitStream) stored(final bool, p []byte) {
	s.bits(bit(final), 1).bits(0, 2).align(0)
	s.b = binary.LittleEndian.AppendUint16(s.b, uint16(len(p)))
	s.b = binary.LittleEndian.AppendUint16(s.b, ^uint16(len(p)))
	s.b = append(s.b, p...)
}

// A coder writes the symbols of a block.
type coder struct {
	*bitStream
	lit, dist []int // lengths
	lw, dw    []uint64
}

func words(lens []int) []uint64 {
	w := make([]uint64, len(lens))
	next := uint64(0)
	for n := 1; n <= 15; n++ {
		for s, l := range lens {
			if l == n {
				w[s] = next
				next++
			}
		}
		next <<= 1
	}
	return w
}

// fixed begins a block with fixed codes.
func (s *bitStream) fixed(final bool) *coder {
	s.bits(bit(final), 1).bits(1, 2)
	lit, dist := make([]int, 288), make([]int, 32)
	for i := range lit {
		lit[i] = 8
		if i >= 144 && i < 256 {
			lit[i] = 9
		} else if i >= 256 && i < 280 {
			lit[i] = 7
		}
	}
	for i := range dist {
		dist[i] = 5
	}
	return &coder{s, lit, dist, words(lit), words(dist)}
}

// dynamic begins a block with these codes, whatever they are.
func (s *bitStream) dynamic(final bool, lit, dist []int) *coder {
	s.bits(bit(final), 1).bits(2, 2)
	s.bits(uint64(len(lit)-257), 5).bits(uint64(len(dist)-1), 5).bits(19-4, 4)
	for _, sym := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15} {
		s.bits(4*bit(sym < 16), 3) // the lengths 0 to 15 have words of 4 bits
	}
	for _, n := range append(append([]int{}, lit...), dist...) {
		s.word(uint64(n), 4)
	}
	return &coder{s, lit, dist, words(lit), words(dist)}
}

// flat is a complete code in which n symbols have words of this length.
func flat(symbols, bits int, used ...int) []int {
	lens := make([]int, symbols)
	for _, u := range used {
		lens[u] = bits
	}
	return lens
}

func (c *coder) literal(v byte) *coder {
	c.word(c.lw[v], uint(c.lit[v]))
	return c
}

// symbol writes one of the literals, or of the lengths without extra bits.
func (c *coder) symbol(v int) *coder {
	c.word(c.lw[v], uint(c.lit[v]))
	return c
}

// distance writes one of the distances' symbols, with extra bits.
func (c *coder) distance(v int, extra uint64, n uint) *coder {
	c.word(c.dw[v], uint(c.dist[v]))
	c.bits(extra, n)
	return c
}

func (c *coder) end() *bitStream { return c.symbol(256).bitStream }

// member is the gzip member with the stream and these plain bytes.
func (s *bitStream) member(plain []byte) []byte {
	s.align(0)
	b := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, s.b...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(plain))
	return binary.LittleEndian.AppendUint32(b, uint32(len(plain)))
}
