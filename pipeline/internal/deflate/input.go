package deflate

import (
	"io"
)

const (
	// inputSize is how much of the stream is read at once; an editor keeps what
	// it has not decided about, for which the buffer may grow to inputMost.
	inputSize = 128 << 10
	inputMost = 4 << 20
	// inputPad are bytes behind the data that the decoder may look at: a block's
	// header (at most 570 bytes) is read without looking for the end.
	inputPad = 1024
	// fastMargin is what an iteration of the hot loop can load; with fastNeed
	// bytes behind the position, which may be 8 bytes behind what is loaded, it
	// does at least one.
	fastMargin = 32
	fastNeed   = fastMargin + 16
)

// input is the compressed stream: a buffer that slides over it, and the position
// in it, in bits.
//
// bb holds the next bn bits and, above them, either zeros or the bits that
// follow; ip is the byte that is loaded next.
type input struct {
	src     io.Reader
	in      []byte // data, then inputPad bytes: zeros once the stream has ended
	end     int    // of the data
	base    int64  // of in[0] in the stream
	eof     bool
	inLimit int // the hot loop runs while ip is before it

	ip     int
	bb, bn uint64
}

func newInput(src io.Reader) input {
	return input{src: src, in: make([]byte, inputSize+inputPad)}
}

// bit is the position in the buffer, in bits.
func (r *input) bit() int { return r.ip*8 - int(r.bn) }

// pos is the position in the stream, in bits.
func (r *input) pos() int64 { return r.base*8 + int64(r.bit()) }

// offset is the byte of the stream that the position is in, for errors.
func (r *input) offset() int64 { return r.pos() >> 3 }

// seek goes to a bit of the buffer.
func (r *input) seek(bit int) {
	r.ip, r.bb, r.bn = bit>>3, 0, 0
	r.refill()
	r.bb >>= uint(bit & 7)
	r.bn -= uint64(bit & 7)
}

// refill makes bn at least 56.
func (r *input) refill() {
	r.bb |= load64(r.in, r.ip) << (r.bn & 63)
	r.ip += int((63 - r.bn) >> 3)
	r.bn |= 56
}

func (r *input) drop(n uint32) {
	r.bb >>= n & 63
	r.bn -= uint64(n & 63)
}

// bits reads n bits, at most 48.
func (r *input) bits(n uint32) uint32 {
	r.refill()
	v := uint32(r.bb & (1<<n - 1))
	r.drop(n)
	return v
}

// align goes to the next byte.
func (r *input) align() { r.seek((r.bit() + 7) &^ 7) }

// overrun says whether more was read than there is.
func (r *input) overrun() bool { return r.eof && r.bit() > r.end*8 }

// need makes n bytes available from the position on, or all that are left. What
// lies before keep (a byte of the stream) may be forgotten.
func (r *input) need(n int, keep int64) error {
	for !r.eof && r.end-(r.bit()>>3) < n {
		if err := r.fill(keep); err != nil {
			return err
		}
	}
	return nil
}

// fill reads on once.
func (r *input) fill(keep int64) error {
	if err := r.slide(int(min(keep, r.offset()) - r.base)); err != nil {
		return err
	}
	room := r.in[r.end : len(r.in)-inputPad]
	n, err := readSome(r.src, room)
	r.end += n
	r.inLimit = r.end - fastMargin
	if err == io.EOF { //nolint:errorlint // an error that wraps it is a source that was cut
		r.eof, err = true, nil
		clear(r.in[r.end : r.end+inputPad])
		r.inLimit = r.end
	}
	r.seek(r.bit()) // what was loaded may have been from behind the data
	return err
}

// slide forgets the first n bytes, and makes room where that is not enough.
func (r *input) slide(n int) error {
	if n > 0 {
		copy(r.in, r.in[n:r.end])
		r.end -= n
		r.ip -= n
		r.base += int64(n)
	}
	if room := len(r.in) - inputPad - r.end; room >= inputSize/4 {
		return nil
	}
	if len(r.in) >= inputMost {
		return fallback("too much of it is open at once")
	}
	in := make([]byte, 2*len(r.in))
	copy(in, r.in[:r.end])
	r.in = in
	return nil
}

// readSome reads at least a byte, or returns an error.
func readSome(r io.Reader, p []byte) (int, error) {
	const attempts = 100 // as bufio
	for range attempts {
		if n, err := r.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}
