package deflate

import (
	"errors"
	"hash/crc32"
	"io"
)

// readerChunk is how many plain bytes a Reader makes at once: with the window
// and the input they stay in the second-level cache.
const readerChunk = 64 << 10

// A Reader is the plain bytes of a gzip stream of one or more members. Every
// member's checksum and length are verified; an error comes in place of the
// bytes behind it, says where the stream is wrong, and is ErrCorrupt,
// io.ErrUnexpectedEOF or the source's own.
//
// It may be read by one goroutine, and is not closed: the source stays open and
// has been read to its end after io.EOF.
type Reader struct {
	decoder
	ready []byte // plain bytes that nobody has read
	err   error  // what comes after them

	state  readerState
	final  bool // the block is the member's last
	left   int  // bytes left of a stored block
	own    *tables
	sum    uint32 // of the member
	size   uint32
	first  bool
	hashed int // what of the window is in sum

	members int
}

// Members is how many members have been begun.
func (z *Reader) Members() int { return z.members }

type readerState int

const (
	inMember readerState = iota // a member's header comes next
	inBlock                     // a block's header
	inStored
	inCodes
	inTrailer
)

// NewReader returns a Reader of src. It reads nothing yet.
func NewReader(src io.Reader) *Reader {
	z := &Reader{own: new(tables), first: true}
	z.input = newInput(src)
	z.out = make([]byte, window+readerChunk+outPad)
	return z
}

// Read reads plain bytes.
func (z *Reader) Read(p []byte) (int, error) {
	for len(z.ready) == 0 {
		if z.err != nil {
			return 0, z.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		z.more()
	}
	n := copy(p, z.ready)
	z.ready = z.ready[n:]
	return n, nil
}

// WriteTo writes all plain bytes to w.
func (z *Reader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		k, err := w.Write(z.ready)
		n += int64(k)
		z.ready = z.ready[k:]
		switch {
		case err != nil:
			return n, err
		case errors.Is(z.err, io.EOF):
			return n, nil
		case z.err != nil:
			return n, z.err
		}
		z.more()
	}
}

// more decodes until the window is full or the stream ends. Bytes that were
// made of what lies behind the stream's end are not given out.
func (z *Reader) more() {
	if z.op > window {
		copy(z.out, z.out[z.op-window:z.op])
		z.start = max(0, z.start-(z.op-window))
		z.op = window
	}
	from := z.op
	z.hashed = from
	for z.err == nil && z.op < window+readerChunk {
		z.err = z.step()
	}
	z.sumUp()
	if z.overrun() {
		z.err = truncated(z.base + int64(z.end))
		return
	}
	if z.err == nil || errors.Is(z.err, io.EOF) || z.state != inTrailer {
		z.ready = z.out[from:z.op]
	}
}

// sumUp brings the member's checksum up to date.
func (z *Reader) sumUp() {
	z.sum = crc32.Update(z.sum, crc32.IEEETable, z.out[z.hashed:z.op])
	z.size += uint32(z.op - z.hashed)
	z.hashed = z.op
}

// step does one part of the stream, or of a block as much as there is room.
func (z *Reader) step() error {
	keep := z.offset()
	switch z.state {
	case inMember:
		h, err := z.memberHeader(z.first, keep)
		if err != nil {
			return err
		}
		if h == nil {
			return io.EOF
		}
		z.first, z.sum, z.size, z.start, z.state = false, 0, 0, z.op, inBlock
		z.members++
		return nil
	case inBlock:
		return z.block(keep)
	case inStored:
		return z.stored(keep)
	case inCodes:
		return z.coded(keep)
	case inTrailer:
	}
	return z.memberEnd(keep)
}

// block reads a block's header.
func (z *Reader) block(keep int64) (err error) {
	if z.final {
		z.final, z.state = false, inTrailer
		return nil
	}
	if err := z.need(headerRoom, keep); err != nil {
		return err
	}
	kind, final, err := z.blockStart()
	if err != nil {
		return err
	}
	z.final, z.state = final, inCodes
	switch kind {
	case stored:
		z.state = inStored
		z.left, err = z.storedLength()
		return err
	case fixed:
		z.tab = fixedTables
	case dynamic:
		var l lengths
		if err := z.codes(&l); err != nil {
			return err
		}
		z.tab = z.own
		if !z.own.build(&l) {
			return corrupt(z.offset(), "the codes of a block")
		}
	}
	if z.overrun() {
		return truncated(z.base + int64(z.end))
	}
	return nil
}

// stored copies bytes of a stored block.
func (z *Reader) stored(keep int64) error {
	if z.left == 0 {
		z.state = inBlock
		return nil
	}
	if err := z.need(1, keep); err != nil {
		return err
	}
	i := z.bit() >> 3
	n := min(z.left, z.end-i, window+readerChunk-z.op)
	if n <= 0 {
		return truncated(z.base + int64(z.end))
	}
	copy(z.out[z.op:], z.in[i:i+n])
	z.op += n
	z.left -= n
	z.seek((i + n) * 8)
	return nil
}

// coded decodes tokens until the window is full, the block ends, or more input
// has to be loaded.
func (z *Reader) coded(keep int64) error {
	if err := z.need(fastNeed, keep); err != nil {
		return err
	}
	const limit = window + readerChunk
	switch z.fast(limit) {
	case atEnd:
		z.state = inBlock
	case atFault:
		return z.fault()
	case atInput:
		if z.eof { // the last tokens stand in bits that were loaded
			return z.one()
		}
	case atLimit, atSpot:
		if z.op < limit { // the next match reaches beyond it
			return z.one()
		}
	}
	return z.checkOverrun()
}

// one decodes one token.
func (z *Reader) one() error {
	switch t, why := z.token(); {
	case why == atEnd:
		z.state = inBlock
	case why != atLimit || !z.put(t):
		return z.fault()
	}
	return z.checkOverrun()
}

func (z *Reader) fault() error {
	if err := z.checkOverrun(); err != nil {
		return err
	}
	return corrupt(z.offset(), "compressed data")
}

func (z *Reader) checkOverrun() error {
	if z.overrun() {
		return truncated(z.base + int64(z.end))
	}
	return nil
}

// memberEnd verifies a member.
func (z *Reader) memberEnd(keep int64) error {
	z.sumUp()
	sum, size, err := z.trailer(keep)
	if err != nil {
		return err
	}
	switch at := z.offset() - memberTrailer; {
	case sum != z.sum:
		return corrupt(at, "the checksum of the plain bytes")
	case size != z.size:
		return corrupt(at, "the length of the plain bytes")
	}
	z.state = inMember
	return nil
}
