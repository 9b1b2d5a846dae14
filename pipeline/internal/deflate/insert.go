package deflate

import (
	"encoding/binary"

	"github.com/klauspost/compress/flate"
)

const (
	// smallInsert is below what a compressor with a state of its own is worth.
	smallInsert = 4 << 10
	insertLevel = 6
	storedMost  = 1<<16 - 1
)

// insert writes new bytes in blocks of their own, from a byte's border on: an
// empty stored block leads there, and another one ends what the compressor
// writes.
func (t *transcoder) insert(with []byte) error {
	if len(with) == 0 {
		return nil
	}
	if err := t.flushSpan(); err != nil {
		return err
	}
	if err := t.closeBlock(); err != nil {
		return err
	}
	t.stats.Inserts++
	t.storedHeader(0)
	if len(with) < smallInsert {
		return flate.StatelessDeflate(&t.w, with, false, nil)
	}
	z, err := flate.NewWriter(&t.w, insertLevel)
	if err != nil {
		return err
	}
	if _, err := z.Write(with); err != nil {
		return err
	}
	return z.Flush()
}

// store writes bytes of the window, with their edits, as stored blocks.
func (t *transcoder) store(from, to int) error {
	if err := t.flushSpan(); err != nil {
		return err
	}
	if err := t.closeBlock(); err != nil {
		return err
	}
	for from < to {
		n := min(to-from, storedMost)
		t.storedHeader(n)
		at := from
		t.eachEdit(from, from+n, func(lo, hi int) {
			_, _ = t.w.Write(t.out[at:lo])
			_, _ = t.w.Write(t.edits[lo:hi])
			at = hi
		})
		_, _ = t.w.Write(t.out[at : from+n])
		from += n
	}
	return t.w.err
}

func (t *transcoder) storedHeader(n int) {
	t.w.bits(stored<<1, 3)
	t.w.align()
	var b [4]byte
	binary.LittleEndian.PutUint16(b[:], uint16(n))
	binary.LittleEndian.PutUint16(b[2:], ^uint16(n))
	_, _ = t.w.Write(b[:])
}
