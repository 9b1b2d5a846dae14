package compare

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// A cursor reads one run of the layer at a position, the lowest being 0.
type cursor struct {
	r        *bufio.Reader
	position int
	seq      uint64
	key      []byte
	body     []byte
}

// next reads a record; io.EOF says that there are no more.
func (c *cursor) next() error {
	var n [4]uint64 // shared, own, body, seq
	for i := range n {
		v, err := binary.ReadUvarint(c.r)
		if err != nil {
			if i > 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		n[i] = v
	}
	const most = 4 << 20 // tarstream bounds what a header can hold
	if n[0] > uint64(len(c.key)) || n[1] > most || n[2] > most {
		return errRecord
	}
	c.key = append(c.key[:n[0]], make([]byte, n[1])...)
	if _, err := io.ReadFull(c.r, c.key[n[0]:]); err != nil {
		return io.ErrUnexpectedEOF
	}
	if uint64(cap(c.body)) < n[2] {
		c.body = make([]byte, n[2])
	}
	c.body = c.body[:n[2]]
	c.seq = n[3]
	if _, err := io.ReadFull(c.r, c.body); err != nil {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// queue is the cursors, the one with the next record on top: by key, the highest
// layer first, and in a layer the last one first.
type queue []*cursor

var _ heap.Interface = (*queue)(nil)

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	return cmp.Or(bytes.Compare(q[i].key, q[j].key), q[j].position-q[i].position, cmp.Compare(q[j].seq, q[i].seq)) < 0
}
func (q *queue) Push(x any) { *q = append(*q, x.(*cursor)) } //nolint:forcetypeassert // container/heap's
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// A group is all that the layers of an image have at one place, the highest layer
// first. It is valid until the next one is asked for.
type group struct {
	key   []byte
	items []item
	arena []byte
}

// An item is one record.
type item struct {
	position int
	seq      uint64
	record   []byte
}

func (i item) kind() kind { return kind(i.record[0]) }

// layerRuns are the records of a layer at its position in an image.
type layerRuns struct {
	position int
	runs     []run
}

// groups yields the places of an image in order.
func (s *shelf) groups(ctx context.Context, layers []layerRuns) iter.Seq2[*group, error] {
	return func(yield func(*group, error) bool) {
		q, err := s.open(ctx, layers)
		g := &group{}
		for err == nil && len(q) > 0 {
			g.key, g.items, g.arena = append(g.key[:0], q[0].key...), g.items[:0], g.arena[:0]
			for err == nil && len(q) > 0 && bytes.Equal(q[0].key, g.key) {
				top := q[0]
				start := len(g.arena)
				g.arena = append(g.arena, top.body...)
				g.items = append(g.items, item{top.position, top.seq, g.arena[start:]})
				err = q.advance()
			}
			if err == nil && !yield(g, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, fmt.Errorf("read the temporary file: %w", err))
		}
	}
}

// advance moves the topmost cursor on.
func (q *queue) advance() error {
	err := (*q)[0].next()
	if errors.Is(err, io.EOF) {
		heap.Pop(q)
		return nil
	}
	heap.Fix(q, 0)
	return err
}

// Memory for reading all runs at once, and the most for one.
const (
	mergeMemory = 8 << 20
	mergeBuffer = 64 << 10
)

func (s *shelf) open(ctx context.Context, layers []layerRuns) (q queue, err error) {
	n := 0
	for _, l := range layers {
		n += len(l.runs)
	}
	size := min(mergeBuffer, mergeMemory/max(1, n))
	for _, l := range layers {
		for _, r := range l.runs {
			c := &cursor{r: bufio.NewReaderSize(s.file.Section(ctx, r.offset, r.size), size), position: l.position}
			if err := c.next(); err != nil {
				return nil, err
			}
			q = append(q, c)
		}
	}
	heap.Init(&q)
	return q, nil
}
