package tarball

import (
	"io"

	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// place is where in the archive a layer can be written at once; nowhere when
// that is not known, or when something is there.
func (q *queue) place(s *slot) int64 {
	if q.m.file == nil || q.moving || (s.size == unknownSize || q.cautious) && s.seq != q.head {
		return nowhere
	}
	at := q.end
	for i := q.head; i < s.seq; i++ {
		before := q.slots[i]
		if before == nil || !before.skip && before.size == unknownSize {
			return nowhere
		}
		if !before.skip {
			at += before.span()
		}
	}
	for _, o := range q.slots {
		if o != s && o.off != nowhere && (s.size == unknownSize || o.off < at+s.span()) && (o.size == unknownSize || at < o.off+o.span()) {
			return nowhere
		}
	}
	return at
}

// promote gives a layer that waits its place, when there is one by now. What is
// in the temporary file already stays there until it is done.
func (q *queue) promote(s *slot) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.off = q.place(s)
}

// advance puts every layer at its place that can be, from the head on. While
// one goroutine does, others leave it to that one.
func (q *queue) advance() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.moving {
		return q.err
	}
	q.moving = true
	defer func() { q.moving = false }()
	for q.err == nil {
		s := q.slots[q.head]
		if s == nil || !s.ready {
			return nil
		}
		if s.skip || q.names[s.name] { // a layer that is in already
			if s.temp != nil {
				_ = s.temp.Close() // its content is not wanted
			}
			delete(q.slots, q.head)
			q.head++
			continue
		}
		if s.off == q.end {
			q.names[s.name] = true
			q.end += s.span()
			delete(q.slots, q.head)
			q.head++
			continue
		}
		behind, wait := q.inTheWay(s)
		if wait {
			return nil
		}
		q.mu.Unlock()
		err := q.move(s, behind)
		q.mu.Lock()
		q.err = err
		if err == nil {
			s.off = q.end
		}
	}
	return q.err
}

// inTheWay finds the layers that stand where s has to go; wait says that one of
// them is still being written.
func (q *queue) inTheWay(s *slot) (behind []*slot, wait bool) {
	for _, o := range q.slots {
		if o != s && o.off != nowhere && o.off < q.end+s.span() {
			behind = append(behind, o)
			wait = wait || !o.ready
		}
	}
	return behind, wait
}

// move puts a layer at the end, after taking those away that stand there.
func (q *queue) move(s *slot, behind []*slot) error {
	for _, o := range behind {
		if err := q.evict(o); err != nil {
			return err
		}
	}
	if s.off != nowhere {
		return q.m.moveDown(q.end, s.off, s.span())
	}
	h, err := header(s.name, s.size)
	if err != nil {
		return err
	}
	if err := q.m.writeAt(h, q.end); err != nil {
		return err
	}
	if err := q.m.copyAt(q.end+s.head, s.temp, s.size); err != nil {
		return err
	}
	if err := q.m.writeAt(make([]byte, pad(s.size)), q.end+s.head+s.size); err != nil {
		return err
	}
	temp := s.temp
	s.temp = nil
	return temp.Close()
}

// evict takes a layer out of the archive into a temporary file.
func (q *queue) evict(s *slot) error {
	f, err := tempFile(q.tempDir)
	if err != nil {
		return err
	}
	content := io.NewSectionReader(q.m.file, s.off+s.head, s.size)
	if _, err := io.CopyBuffer(f, struct{ io.Reader }{content}, make([]byte, bufferSize)); err != nil {
		_ = f.Close()
		return spool.Explain(q.tempDir, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	s.temp, s.off = f, nowhere
	return nil
}
