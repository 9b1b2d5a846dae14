package tarball

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// unknownSize is that of a layer which is made while it is written.
const unknownSize = -1

// A queue puts layers into an archive by seq, whenever they come.
//
//	end    head               known sizes: side by side   the rest: temporary files
//	 │ done │ written in place │ in place │ in place │  …  ┊ waits ┊ waits ┊
//
// The layer at the head of the line is written in place. So are those behind it
// as long as all sizes before them are known; that is a guess, since a filter
// may still make a layer come out different: then what stands behind it moves.
// All others wait in temporary files, and so does every layer of a stream.
type queue struct {
	m       medium
	tempDir string

	mu    sync.Mutex
	end   int64 // of what stands at its place for good
	head  int   // the lowest seq that does not
	slots map[int]*slot
	names map[string]bool // members that are in
	// moving: someone moves layers; nobody else does, and no place is given.
	moving bool
	// cautious: a promised size was not kept before; places are not given away
	// ahead of time any more.
	cautious bool
	err      error // what moving failed with
}

// A slot is the place of one layer in line.
type slot struct {
	seq   int
	name  string
	head  int64    // bytes of the header
	size  int64    // of the content: promised, then real; unknownSize
	off   int64    // of the header in the archive; nowhere while it waits
	temp  *os.File // content that waits, or its start
	ready bool     // nobody writes to it any more
	skip  bool     // no layer comes
}

// nowhere is the offset of a slot without a place in the archive.
const nowhere = -1

func (s *slot) span() int64 { return s.head + s.size + pad(s.size) }

func newQueue(m medium, tempDir string) *queue {
	return &queue{m: m, tempDir: tempDir, slots: map[int]*slot{}, names: map[string]bool{}}
}

// open starts a layer: in place if it has one, else in a temporary file. Name
// and size are promises; "" and unknownSize make none.
func (q *queue) open(seq int, name string, size int64) (*slot, error) {
	s := &slot{seq: seq, name: name, head: blockSize, size: size, off: nowhere}
	if name != "" {
		h, err := header(name, size)
		if err != nil {
			return nil, err
		}
		s.head = int64(len(h))
	}
	q.mu.Lock()
	err := q.err
	if err == nil && (q.slots[seq] != nil || seq < q.head) {
		err = fmt.Errorf("layer %d is written twice", seq)
	}
	if err == nil {
		s.off = q.place(s)
		q.slots[seq] = s
	}
	q.mu.Unlock()
	if err != nil || s.off != nowhere {
		return s, err
	}
	if s.temp, err = tempFile(q.tempDir); err != nil {
		return nil, errors.Join(err, q.discard(s))
	}
	return s, nil
}

// discard forgets a layer; another may come for the same seq.
func (q *queue) discard(s *slot) error {
	q.mu.Lock()
	if q.slots[s.seq] == s {
		delete(q.slots, s.seq)
	}
	q.cautious = true
	q.mu.Unlock()
	if s.temp != nil {
		_ = s.temp.Close() // its content is not wanted
	}
	return q.advance()
}

// done says that all of a layer was written, under its final name and size.
func (q *queue) done(s *slot, name string, size int64) error {
	h, err := header(name, size)
	if err != nil {
		return err
	}
	if s.off != nowhere {
		if int64(len(h)) != s.head {
			return fmt.Errorf("member %s needs %d bytes of header where %d were left", name, len(h), s.head)
		}
		if err := q.fetch(s); err != nil {
			return err
		}
		if err := q.frame(s.off, h, size); err != nil {
			return err
		}
	}
	q.mu.Lock()
	s.name, s.head, s.size, s.ready = name, int64(len(h)), size, true
	q.mu.Unlock()
	return q.advance()
}

// fetch brings home what a promoted layer left in its temporary file.
func (q *queue) fetch(s *slot) error {
	if s.temp == nil {
		return nil
	}
	temp := s.temp
	s.temp = nil
	defer temp.Close()
	if _, err := temp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyBuffer(io.NewOffsetWriter(q.m.file, s.off+s.head), struct{ io.Reader }{temp}, make([]byte, bufferSize))
	return plainError(err)
}

// frame writes the header before a content and the zeros after it.
func (q *queue) frame(off int64, h []byte, size int64) error {
	if err := q.m.writeAt(h, off); err != nil {
		return err
	}
	return q.m.writeAt(make([]byte, pad(size)), off+int64(len(h))+size)
}

// skip says that nothing comes for seq.
func (q *queue) skip(seq int) error {
	q.mu.Lock()
	if q.slots[seq] == nil && seq >= q.head {
		q.slots[seq] = &slot{seq: seq, off: nowhere, ready: true, skip: true}
	}
	q.mu.Unlock()
	return q.advance()
}

// tempFile makes a file without a name.
func tempFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "occystrap-*")
	if err != nil {
		return nil, spool.Explain(dir, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, spool.Explain(dir, err)
	}
	return f, nil
}
