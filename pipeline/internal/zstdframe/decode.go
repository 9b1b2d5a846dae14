package zstdframe

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// decoding takes the stream apart: it hands the decoder one frame, block by
// block, and the editor each block's stored and plain bytes together.
//
// A synchronous decoder asks for a block only after it has written out all of
// the one before; that is how the plain bytes of a block are known.
type decoding struct {
	src *source
	dec *zstd.Decoder
	e   *editor

	f      *frame
	sized  *unit  // the frame, if it declares its size
	block  []byte // what the decoder is reading
	left   []byte // of block
	stored []byte // read and not passed on; not kept here if sized
	plain  []byte // decoded and not passed on
	before mark   // stored and plain without the block
	blocks int    // read of the frame
	begun  bool   // a unit of the frame was made
	last   bool   // block is the last one of the frame
	err    error  // ended the reading of the frame; io.EOF if it is all there
}

// A mark is a place in stored and plain.
type mark struct{ stored, plain int }

// maxPending bounds the empty blocks that a unit takes along.
const maxPending = 1 << 20

func newDecoding(src io.Reader, e *editor) (*decoding, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return &decoding{src: &source{br: bufio.NewReaderSize(src, bufferSize)}, dec: dec, e: e}, nil
}

func (d *decoding) close() { d.dec.Close() }

// frame takes the next frame to the editor. It says whether there was one.
func (d *decoding) frame() (bool, error) {
	at := d.src.off
	raw, h, err := d.src.header()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	d.e.res.Frames++
	if h.Skippable {
		return true, d.skippable(raw, int64(h.SkippableSize))
	}
	d.f = &frame{sized: h.HasFCS, summed: h.HasCheckSum}
	d.sized, d.blocks, d.begun, d.last, d.err = nil, 0, false, false, nil
	d.left, d.stored, d.plain = raw, append(d.stored[:0], raw...), d.plain[:0]
	d.before = mark{}
	if h.HasFCS {
		start := d.e.pos
		d.sized = &unit{f: d.f, start: start, end: start + int64(h.FrameContentSize), stored: raw, first: true, last: true}
		if err := d.e.push(d.sized); err != nil {
			return false, err
		}
	}
	if err := d.dec.Reset(d); err != nil {
		return false, err
	}
	switch _, err := d.dec.WriteTo(d); {
	case d.err != nil && !errors.Is(d.err, io.EOF):
		return false, d.err
	case err != nil:
		return false, fmt.Errorf("zstd frame at byte %d, before byte %d: %w: %w", at, d.src.off, ErrFormat, err)
	case d.err == nil: // the decoder saw an end where we see none
		return false, fmt.Errorf("zstd frame at byte %d ends before byte %d: %w", at, d.src.off, ErrFormat)
	}
	return true, nil
}

// skippable takes a skippable frame to the editor, in pieces: it has up to
// 4 GiB.
func (d *decoding) skippable(raw []byte, size int64) (err error) {
	u := &unit{f: &frame{skippable: true}, start: d.e.pos, end: d.e.pos, stored: raw, first: true, last: true}
	if err := d.e.push(u); err != nil {
		return err
	}
	for size > 0 {
		n := min(size, maxBlock)
		if d.block, err = d.src.read(d.block[:0], int(n)); err != nil {
			return err
		}
		if err := d.e.more(u, d.block); err != nil {
			return err
		}
		size -= n
	}
	u.complete = true
	return d.e.settle()
}

// Read gives the decoder the frame, and looks at what came of the last block
// before it reads the next.
func (d *decoding) Read(p []byte) (int, error) {
	for len(d.left) == 0 {
		if d.err == nil {
			d.err = d.load()
		}
		if d.err != nil {
			return 0, d.err
		}
	}
	n := copy(p, d.left)
	d.left = d.left[n:]
	return n, nil
}

// Write receives plain bytes from the decoder.
func (d *decoding) Write(p []byte) (int, error) {
	if len(d.plain)-d.before.plain+len(p) > maxBlock {
		return 0, fmt.Errorf("a block of more than %d plain bytes", maxBlock)
	}
	d.plain = append(d.plain, p...)
	return len(p), nil
}

// load reads the next block.
func (d *decoding) load() (err error) {
	if d.blocks > 0 {
		if err := d.passOn(); err != nil {
			return err
		}
	}
	if d.last {
		return io.EOF
	}
	if d.block, d.last, err = d.src.block(d.block[:0], d.f.summed); err != nil {
		return err
	}
	d.left = d.block
	d.blocks++
	d.before = mark{len(d.stored), len(d.plain)}
	if d.sized != nil {
		return d.e.more(d.sized, d.block)
	}
	d.stored = append(d.stored, d.block...)
	return nil
}

// passOn hands the editor what came of the block. When it has got all plain
// bytes of a frame, it must know that the frame has ended, lest it take empty
// blocks that follow for something that an edit there would cut off.
func (d *decoding) passOn() error {
	if u := d.sized; u != nil {
		u.complete = d.last
		switch now := d.e.pos + int64(len(d.plain)); {
		case now > u.end || d.last && now != u.end:
			return fmt.Errorf("before byte %d: a zstd frame with other than the declared %d bytes: %w", d.src.off, u.end-u.start, ErrFormat)
		case now == u.end && !d.last:
			return nil
		}
		err := d.e.take(d.plain)
		d.plain = d.plain[:0]
		return err
	}
	if b := d.before; b.plain > 0 && len(d.plain) > b.plain || len(d.stored) > maxPending {
		if err := d.unit(b, false); err != nil {
			return err
		}
	}
	if d.last {
		return d.unit(mark{len(d.stored), len(d.plain)}, true)
	}
	return nil
}

// unit passes on what was there at m: a block, and empty ones around it.
func (d *decoding) unit(m mark, last bool) error {
	u := &unit{f: d.f, start: d.e.pos, end: d.e.pos + int64(m.plain), stored: d.stored[:m.stored], first: !d.begun, last: last, complete: true}
	if err := d.e.push(u); err != nil {
		return err
	}
	err := d.e.take(d.plain[:m.plain])
	d.stored = d.stored[:copy(d.stored, d.stored[m.stored:])]
	d.plain = d.plain[:copy(d.plain, d.plain[m.plain:])]
	d.begun = true
	return err
}
