package pgzip

import (
	"sync"
	"sync/atomic"
)

const (
	// block is what klauspost/compress deflates at a time at levels 1 to 6;
	// what is left of a chunk would be a small block of its own.
	block = 65535
	// ChunkSize is how many bytes are compressed together, by one core.
	// Smaller ones cost more for their dictionaries (at 512 KiB, 32 KiB are
	// 6 % of the bytes, and less of the time); larger ones cost memory, and
	// leave small layers to one core.
	ChunkSize = 8 * block
	// dictSize is how far deflate looks back: RFC 1951, 3.2.5.
	dictSize = 32 << 10
)

// A chunk is a piece of the input, then its compressed form. It knows nothing
// of the Writer, so that an abandoned one can be collected.
type chunk struct {
	level   int
	last    bool         // it ends the deflate stream
	stopped *atomic.Bool // nobody will write the result

	// buf holds the dictionary, the input, and in the end the result: that is
	// hardly ever longer, and so a chunk in flight needs no second buffer.
	buf  []byte
	dict int // where in buf the dictionary ends and the input begins
	end  int // where the input ends

	done chan struct{} // has room for one
	out  []byte        // the result; valid after wait
	err  error
}

var chunks = sync.Pool{New: func() any {
	return &chunk{buf: make([]byte, dictSize+ChunkSize), done: make(chan struct{}, 1)}
}}

// newChunk is the first one of a stream: it has no dictionary.
func newChunk(level int, stopped *atomic.Bool) *chunk {
	c := chunks.Get().(*chunk)
	c.level, c.stopped = level, stopped
	c.last, c.dict, c.end, c.out, c.err = false, 0, 0, nil, nil
	return c
}

// emptyChunk is all of an empty stream; it needs no buffer.
func emptyChunk(level int, stopped *atomic.Bool) *chunk {
	return &chunk{level: level, stopped: stopped, done: make(chan struct{}, 1)}
}

// successor is the chunk after this one, which is full and not yet compressed.
func (c *chunk) successor() *chunk {
	s := newChunk(c.level, c.stopped)
	s.dict = copy(s.buf, c.buf[c.end-dictSize:c.end])
	s.end = s.dict
	return s
}

func (c *chunk) full() bool { return c.end-c.dict == ChunkSize }

// fill takes as much of p as there is room for.
func (c *chunk) fill(p []byte) int {
	n := copy(c.buf[c.end:c.dict+ChunkSize], p)
	c.end += n
	return n
}

// compress replaces the input by its compressed form and wakes who waits.
func (c *chunk) compress() {
	if !c.stopped.Load() {
		d := newDeflater(c.level)
		c.err = d.deflate(c.buf[:c.dict], c.buf[c.dict:c.end], c.last)
		c.out = append(c.buf[:0], d.out...) //nolint:gocritic // the input's buffer holds the output
		d.free()
	}
	c.done <- struct{}{}
}

func (c *chunk) ready() bool { return len(c.done) > 0 }

func (c *chunk) wait() { <-c.done }

// free gives the buffer to other chunks.
func (c *chunk) free() {
	c.out, c.stopped = nil, nil
	if c.buf != nil {
		chunks.Put(c)
	}
}
