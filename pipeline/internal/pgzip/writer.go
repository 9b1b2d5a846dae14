// Package pgzip compresses one stream into one gzip member on all cores.
//
//	Write ─▶ chunks of 8 blocks ─▶ crew: deflate, each with the 32 KiB before it ─▶ in order ─▶ w
//	     └─▶ CRC-32 ────────────────────────────────────────────────────────────────▶ trailer
//
// The output depends on the input and the level alone: not on the cores, not
// on the sizes of the writes, not on what was compressed before. It is the
// canonical form in which we store layers, made by four things: ChunkSize, the
// dictionary (the 32 KiB before a chunk), the level, and the version of
// klauspost/compress. Who changes one of them changes digests; a golden test
// fails then. An input of at most one chunk gives what one stream of that
// library gives.
package pgzip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"sync/atomic"

	"github.com/klauspost/compress/flate"
)

// maxInFlight bounds the memory of a Writer: so many chunks that are queued,
// compressed or waiting for their turn, and one that is filled, are less than
// 4 MiB. It also bounds the cores that one stream can use.
const maxInFlight = 6

// A Writer compresses into a gzip member. One goroutine uses it. Only calls of
// Write and Close write to the underlying writer. A Writer that is not wanted
// any more may be dropped without Close: what is in flight ends within
// milliseconds, and the collector takes the rest.
type Writer struct {
	w      io.Writer
	level  int
	sum    uint32 // CRC-32 of what was written
	size   uint32 // its length, modulo 2^32, as the trailer wants it
	headed bool
	closed bool
	err    error // the first one; nothing works after it

	filling *chunk   // nil before the first byte
	flight  []*chunk // oldest first
	stopped *atomic.Bool
}

var _ io.WriteCloser = (*Writer)(nil)

// NewWriter compresses what is written to it into w, at a level from 1 to 9.
// The caller closes it; w stays open.
func NewWriter(w io.Writer, level int) (*Writer, error) {
	if level < flate.BestSpeed || level > flate.BestCompression {
		return nil, fmt.Errorf("compress: gzip level %d is not one of %d to %d", level, flate.BestSpeed, flate.BestCompression)
	}
	return &Writer{w: w, level: level, stopped: new(atomic.Bool)}, nil
}

// Write takes p in; it waits for the compression of earlier chunks when too
// many are in flight. An error of the underlying writer comes out of this or a
// later call, and ends the work.
func (z *Writer) Write(p []byte) (int, error) {
	if z.closed && z.err == nil {
		return 0, errors.New("compress: write after close")
	}
	n := 0
	for z.err == nil && n < len(p) {
		switch {
		case z.filling == nil:
			z.filling = newChunk(z.level, z.stopped)
		case z.filling.full():
			// Not before there is more: the last chunk is compressed as such.
			z.next()
			continue
		}
		m := z.filling.fill(p[n:])
		z.sum = crc32.Update(z.sum, crc32.IEEETable, p[n:n+m])
		z.size += uint32(m)
		n += m
	}
	return n, z.err
}

// next sends the full chunk off and goes on with an empty one.
func (z *Writer) next() {
	limit := min(2*runtime.GOMAXPROCS(0), maxInFlight) // twice: chunks differ in the time that they take
	for len(z.flight) > 0 && (len(z.flight) >= limit || z.flight[0].ready()) {
		z.collect()
	}
	if z.err != nil {
		return
	}
	full := z.filling
	z.filling = full.successor() // before the full one is compressed: its buffer takes the result
	z.flight = append(z.flight, full)
	workers.submit(full)
}

// collect waits for the oldest chunk and writes it.
func (z *Writer) collect() {
	c := z.flight[0]
	n := copy(z.flight, z.flight[1:])
	z.flight[n] = nil
	z.flight = z.flight[:n]
	c.wait()
	z.emit(c)
	c.free()
}

// emit writes a compressed chunk, and the header before the first one.
func (z *Writer) emit(c *chunk) {
	if !z.headed {
		z.headed = true
		z.write(header(z.level))
	}
	if z.err == nil {
		z.fail(c.err)
	}
	z.write(c.out)
}

// write writes to the underlying writer unless there was an error.
func (z *Writer) write(p []byte) {
	if z.err != nil {
		return
	}
	n, err := z.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	z.fail(err)
}

// fail keeps an error and lets chunks that nobody will write go uncompressed.
func (z *Writer) fail(err error) {
	if err != nil {
		z.err = err
		z.stopped.Store(true)
	}
}

// Close writes what is left and the trailer. After an error it writes nothing
// and returns that error. Nothing of the Writer is in flight when it returns.
// A second Close is harmless.
func (z *Writer) Close() error {
	if z.closed {
		return z.err
	}
	z.closed = true
	last := z.filling
	z.filling = nil
	if last == nil {
		last = emptyChunk(z.level, z.stopped)
	}
	last.last = true
	if len(z.flight) == 0 {
		last.compress() // there is nothing beside it that could be done
	} else {
		workers.submit(last)
	}
	z.flight = append(z.flight, last)
	for len(z.flight) > 0 {
		z.collect()
	}
	z.write(trailer(z.sum, z.size))
	return z.err
}

// header is that of RFC 1952, 2.3, with nothing in it that could differ: no
// name, no time, system unknown. XFL says what zlib says of the level.
func header(level int) []byte {
	const deflate, fastest, best, unknown = 8, 4, 2, 255
	xfl := byte(0)
	switch level {
	case flate.BestSpeed:
		xfl = fastest
	case flate.BestCompression:
		xfl = best
	}
	return []byte{0x1f, 0x8b, deflate, 0, 0, 0, 0, 0, xfl, unknown}
}

func trailer(sum, size uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, sum), size)
}
