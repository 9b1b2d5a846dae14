package deflate

import (
	"crypto/sha256"
	"hash"
	"hash/crc32"
	"sync"
)

// pageCount is how many windows there are: one is being filled while the others
// are hashed.
const pageCount = 3

// windows are used again: an image may have many small layers.
var windows = sync.Pool{New: func() any {
	b := make([]byte, pageSize+outPad)
	return &b
}}

func newWindow() []byte { return *windows.Get().(*[]byte) }

func dropWindow(b []byte) { windows.Put(&b) }

// hasher computes digests, sizes and checksums of the old and the new plain
// stream, in a goroutine of its own. Until the first edit both are one.
type hasher struct {
	jobs chan job
	free chan []byte
	done chan struct{}

	old, now side // now is nil until they differ
	differ   bool
}

// A side is the state of one of the streams.
type side struct {
	sum  hash.Hash
	crc  uint32 // of the member
	size int64
}

func (s *side) write(p []byte) {
	s.sum.Write(p)
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p)
	s.size += int64(len(p))
}

// A job is a part of the old stream with its edits, or a question.
type job struct {
	old    []byte // the bytes, which the hasher may change
	places []int  // where edited bytes go: pairs of indexes
	edits  []byte // those bytes
	pieces []piece
	full   []byte    // the window to give back
	answer chan sums // asks for the checksums, and starts new ones
}

// A piece of the new stream: old bytes between two indexes, then new ones.
type piece struct {
	from, to int
	with     []byte
}

// sums are the checksums of a member.
type sums struct{ old, now uint32 }

func (h *hasher) start() {
	h.jobs = make(chan job, pageCount)
	h.free = make(chan []byte, pageCount)
	h.done = make(chan struct{})
	h.old.sum = sha256.New()
	for range pageCount {
		h.free <- newWindow()
	}
	go func() {
		defer close(h.done)
		for j := range h.jobs {
			h.do(j)
		}
	}()
}

// close ends the goroutine. It may be called twice.
func (h *hasher) close() {
	if h.jobs != nil {
		close(h.jobs)
		<-h.done
		h.jobs = nil
		for len(h.free) > 0 {
			dropWindow(<-h.free)
		}
	}
}

func (h *hasher) do(j job) {
	if j.full != nil {
		h.free <- j.full
		return
	}
	if j.answer != nil {
		a := sums{h.old.crc, h.old.crc}
		if h.differ {
			a.now = h.now.crc
		}
		h.old.crc, h.now.crc = 0, 0
		j.answer <- a
		return
	}
	if !h.differ && (len(j.places) > 0 || !j.whole()) {
		h.differ = true
		h.now = h.old
		h.now.sum = clone(h.old.sum)
	}
	h.old.write(j.old)
	if !h.differ {
		return
	}
	e := j.edits
	for i := 0; i < len(j.places); i += 2 {
		e = e[copy(j.old[j.places[i]:j.places[i+1]], e):]
	}
	for _, p := range j.pieces {
		h.now.write(j.old[p.from:p.to])
		h.now.write(p.with)
	}
}

// whole says whether the new stream has all old bytes and no others.
func (j job) whole() bool {
	return len(j.pieces) == 1 && j.pieces[0].to-j.pieces[0].from == len(j.old) && len(j.pieces[0].with) == 0
}

func clone(h hash.Hash) hash.Hash {
	c, err := h.(hash.Cloner).Clone()
	if err != nil {
		panic(err) // those of the standard library can all be cloned
	}
	return c.(hash.Hash)
}

// buffer is a window that nobody uses.
func (h *hasher) buffer() []byte { return <-h.free }

// giveBack returns a window once what was sent of it has been hashed.
func (h *hasher) giveBack(b []byte) { h.jobs <- job{full: b} }

// checksums are those of the member that was sent whole.
func (h *hasher) checksums() sums {
	answer := make(chan sums)
	h.jobs <- job{answer: answer}
	return <-answer
}

// plain waits for all that was sent.
func (h *hasher) plain() (old, now Plain) {
	h.close()
	h.old.sum.Sum(old.Digest[:0])
	old.Size = h.old.size
	if !h.differ {
		return old, old
	}
	h.now.sum.Sum(now.Digest[:0])
	now.Size = h.now.size
	return old, now
}

// hashTo sends what lies before an index to the hasher. A cut at the very end is
// a part of it where inclusive.
func (t *transcoder) hashTo(end int, inclusive bool) {
	j := job{old: t.out[t.hashed:end]}
	from, s := t.hashed, &t.cuts
	at := from
	for ; s.hash < len(s.list); s.hash++ {
		c := &s.list[s.hash]
		if off := c.off - t.base0; off > int64(end) || off == int64(end) && !inclusive {
			break
		}
		p := piece{from: at - from, to: max(at, int(c.off-t.base0)) - from}
		if !c.hashed {
			p.with, c.hashed = c.with, true
			s.unhashed -= len(c.with)
			c.release()
		}
		j.pieces = append(j.pieces, p)
		at = int(min(c.end()-t.base0, int64(end)))
		if c.end()-t.base0 > int64(end) {
			break
		}
	}
	j.pieces = append(j.pieces, piece{from: at - from, to: end - from})
	t.eachEdit(from, end, func(lo, hi int) {
		j.places = append(j.places, lo-from, hi-from)
		j.edits = append(j.edits, t.edits[lo:hi]...)
	})
	t.hashed = end
	if len(j.old) > 0 || len(j.pieces) > 1 {
		t.jobs <- j
	}
}
