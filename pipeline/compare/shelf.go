package compare

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// chunk is how many bytes of records are sorted at once: several layers in flight
// have one each.
const chunk = 2 << 20

// A shelf is where sorted runs of records lie.
type shelf struct {
	mu   sync.Mutex
	file *spool.File
}

// A run is records in order: by key and, where that is the same, the last one
// first. A key is written without what it shares with the one before.
type run struct{ offset, size int64 }

// A sorter takes the records of one layer. It is used by one goroutine.
type sorter struct {
	shelf *shelf
	buf   []byte
	at    []span
	runs  []run
	links bool // some of them are hard links whose targets are not among them
}

// A span is a record in buf.
type span struct {
	start, body, end int
	seq              uint64
}

func (s *sorter) key(x span) []byte { return s.buf[x.start:x.body] }

// add takes an entry: what body appends is its record. Of entries with one place the
// one with the higher number counts.
func (s *sorter) add(place string, seq uint64, body func([]byte) []byte) error {
	x := span{start: len(s.buf), seq: seq}
	s.buf = append(s.buf, keyOf(place)...)
	x.body = len(s.buf)
	s.buf = body(s.buf)
	x.end = len(s.buf)
	s.at = append(s.at, x)
	if len(s.buf) >= chunk {
		return s.flush()
	}
	return nil
}

// flush writes what there is as a run.
func (s *sorter) flush() error {
	if len(s.at) == 0 {
		return nil
	}
	slices.SortFunc(s.at, func(x, y span) int {
		if c := bytes.Compare(s.key(x), s.key(y)); c != 0 {
			return c
		}
		return cmp.Compare(y.seq, x.seq)
	})
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	start := s.shelf.file.Size()
	const enough = 64 << 10
	w := bufio.NewWriterSize(s.shelf.file, enough)
	var last, head []byte
	for _, x := range s.at {
		key := s.key(x)
		same := shared(last, key)
		head = binary.AppendUvarint(head[:0], uint64(same))
		head = binary.AppendUvarint(head, uint64(len(key)-same))
		head = binary.AppendUvarint(head, uint64(x.end-x.body))
		head = binary.AppendUvarint(head, x.seq)
		for _, part := range [][]byte{head, key[same:], s.buf[x.body:x.end]} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		last = key
	}
	if err := w.Flush(); err != nil {
		return err
	}
	s.runs = append(s.runs, run{start, s.shelf.file.Size() - start})
	s.buf, s.at = s.buf[:0], s.at[:0]
	return nil
}

// end writes the rest, and lets go of the memory.
func (s *sorter) end() error {
	err := s.flush()
	s.buf, s.at = nil, nil
	return err
}

func shared(a, b []byte) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
