package tarball

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// flush puts what still waits at its place; seqs that never came count as
// skipped.
func (q *queue) flush() error {
	for {
		if err := q.advance(); err != nil {
			return err
		}
		q.mu.Lock()
		left := slices.Collect(maps.Keys(q.slots))
		if len(left) > 0 {
			q.head = slices.Min(left)
		}
		for _, s := range q.slots {
			if !s.ready {
				left = nil
				q.err = fmt.Errorf("layer %d was not finished", s.seq)
			}
		}
		err := q.err
		q.mu.Unlock()
		if len(left) == 0 {
			return err
		}
	}
}

// append writes a whole member behind the layers, once.
func (q *queue) append(name string, content []byte) error {
	if q.names[name] {
		return nil
	}
	h, err := header(name, int64(len(content)))
	if err != nil {
		return err
	}
	b := slices.Concat(h, content, make([]byte, pad(int64(len(content)))))
	if err := q.m.writeAt(b, q.end); err != nil {
		return err
	}
	q.names[name] = true
	q.end += int64(len(b))
	return nil
}

// finish closes the tar: two blocks of zeros, and padding.
func (q *queue) finish() error {
	last := q.end + 2*blockSize
	last += (recordSize - last%recordSize) % recordSize
	if err := q.m.writeAt(make([]byte, last-q.end), q.end); err != nil {
		return err
	}
	q.end = last
	if q.m.file != nil {
		return q.m.file.Truncate(last) // a discarded layer may lie behind it
	}
	return nil
}

// close gives the temporary files back.
func (q *queue) close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.slots {
		if s.temp != nil {
			_ = s.temp.Close() // its content is not wanted
		}
	}
	clear(q.slots)
	q.err = errors.New("it is closed")
	return nil
}
