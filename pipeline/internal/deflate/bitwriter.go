package deflate

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
)

// outputSize is how much is written at once.
const outputSize = 64 << 10

// bitWriter writes a stream of bits and hashes it. Its first error sticks.
type bitWriter struct {
	w   io.Writer
	sum hash.Hash
	n   int64 // bytes handed to w
	err error

	buf []byte
	at  int
	acc uint64 // the next nb bits, fewer than 8 between calls
	nb  uint
}

func newBitWriter(w io.Writer) bitWriter {
	return bitWriter{w: w, sum: sha256.New(), buf: make([]byte, outputSize+64)}
}

// flush hands on what is whole.
func (w *bitWriter) flush() {
	w.sum.Write(w.buf[:w.at])
	w.n += int64(w.at)
	if w.err == nil {
		_, w.err = w.w.Write(w.buf[:w.at])
	}
	w.at = 0
}

// bits writes the n lowest bits of v, at most 56; the others are 0.
func (w *bitWriter) bits(v uint64, n uint) {
	w.acc |= v << (w.nb & 63)
	w.nb += n
	store64(w.buf, w.at, w.acc)
	w.at += int(w.nb >> 3)
	w.acc >>= w.nb &^ 7 & 63
	w.nb &= 7
	if w.at >= outputSize {
		w.flush()
	}
}

// align fills the byte with zeros.
func (w *bitWriter) align() {
	if w.nb != 0 {
		w.bits(0, 8-w.nb)
	}
}

// Write writes whole bytes at a byte's border.
func (w *bitWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := copy(w.buf[w.at:outputSize], rest)
		w.at += n
		rest = rest[n:]
		if w.at >= outputSize {
			w.flush()
		}
	}
	return len(p), w.err
}

// uint32s writes numbers at a byte's border, as a member's trailer has them.
func (w *bitWriter) uint32s(v ...uint32) {
	for _, x := range v {
		w.bits(uint64(x), 32)
	}
}

// copyBits writes the bits from a to b of in, behind which there are inputPad
// bytes.
func (w *bitWriter) copyBits(in []byte, a, b int) {
	const few = 64
	if b-a >= few {
		if w.nb != 0 {
			a += w.piece(in, a, int(8-w.nb))
		}
		if a&7 == 0 {
			_, _ = w.Write(in[a>>3 : b>>3]) // flush keeps the error
			a = b &^ 7
		} else {
			a = w.shifted(in, a, b)
		}
	}
	for a < b {
		a += w.piece(in, a, min(b-a, 48))
	}
}

func (w *bitWriter) piece(in []byte, a, n int) int {
	w.bits(load64(in, a>>3)>>(uint(a)&7)&(1<<uint(n)-1), uint(n))
	return n
}

// shifted writes pieces of 64 bits to a byte's border, and returns where it
// ended.
func (w *bitWriter) shifted(in []byte, a, b int) int {
	s := uint(a) & 7
	for b-a >= 64 {
		n := min((b-a)>>6, (outputSize-w.at+7)>>3)
		i, at := a>>3, w.at
		for range n {
			store64(w.buf, at, load64(in, i)>>(s&63)|uint64(load8(in, i+8))<<((64-s)&63))
			at += 8
			i += 8
		}
		w.at = at
		a += n * 64
		if w.at >= outputSize {
			w.flush()
		}
	}
	return a
}

// extractBits returns the bits from a to b of in, from the first bit of the
// result on, with room behind them to load from.
func extractBits(to, in []byte, a, b int) []byte {
	to = to[:0]
	for ; a < b; a += 48 {
		v := load64(in, a>>3) >> (uint(a) & 7) & (1<<48 - 1)
		to = append(to, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40))
	}
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(to, 0), 0)
}
