package graphdriver

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

const (
	// chunkSize is how much is read and hashed at once: most files are smaller, so
	// that many go into one.
	chunkSize = 256 << 10
	// chunksAhead is how many chunks are between the files and the reader: one that
	// is filled, one that is hashed, one that is read, and one between them.
	chunksAhead = 4
)

// errDamaged marks files of a store that are not what they were.
var errDamaged = fmt.Errorf("%w: the files of the daemon's store are damaged", pipeline.ErrDigest)

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// A chunk is a part of a layer, and what its reader is told after it.
type chunk struct {
	buf *[chunkSize]byte
	n   int
	err error
}

// A stream gives out a layer, whose diff ID it checks before it says that this was
// all.
//
//	assembly ─▶ fill ─▶ hash ─▶ Read     each in a goroutine of its own
type stream struct {
	layer *layer
	from  *assembly
	free  chan *[chunkSize]byte
	ready chan chunk
	stop  chan struct{}
	group sync.WaitGroup

	now    chunk
	at     int
	closed sync.Once
	err    error // of Close
}

func newStream(l *layer, a *assembly) *stream {
	s := &stream{layer: l, from: a, free: make(chan *[chunkSize]byte, chunksAhead), ready: make(chan chunk, chunksAhead), stop: make(chan struct{})}
	for range chunksAhead {
		s.free <- chunks.Get().(*[chunkSize]byte)
	}
	filled := make(chan chunk, chunksAhead)
	s.group.Go(func() { s.fill(filled) })
	s.group.Go(func() { s.hash(filled) })
	return s
}

// fill reads the layer. It never waits for the channel: there are no more chunks
// than fit into it.
func (s *stream) fill(filled chan<- chunk) {
	defer close(filled)
	for {
		select {
		case <-s.stop:
			return
		case buf := <-s.free:
			n, err := s.from.Read(buf[:])
			filled <- chunk{buf, n, err}
			if err != nil {
				return
			}
		}
	}
}

// hash hashes the layer, and gives its end another meaning where it is wrong.
func (s *stream) hash(filled <-chan chunk) {
	sum := s.layer.diffID.Algorithm().Hash()
	for c := range filled {
		_, _ = sum.Write(c.buf[:c.n]) // a hash never fails
		if errors.Is(c.err, io.EOF) {
			c.err = s.verdict(sum)
		} else if c.err != nil {
			c.err = s.layer.store.explain(s.layer.diffID, c.err)
		}
		s.ready <- c
	}
}

// verdict is io.EOF if the layer was what its diff ID says.
func (s *stream) verdict(sum hash.Hash) error {
	l := s.layer
	if digest.NewDigest(l.diffID.Algorithm(), sum) == l.diffID {
		return io.EOF
	}
	if name := l.damaged(); name != "" {
		return l.store.explain(l.diffID, fmt.Errorf("%q has another content than when the layer was stored: %w", name, errDamaged))
	}
	return l.store.explain(l.diffID, fmt.Errorf("its bytes have another digest: %w", errDamaged))
}

// Read gives out the layer.
func (s *stream) Read(p []byte) (int, error) {
	if s.at == s.now.n {
		if s.now.err != nil {
			return 0, s.now.err
		}
		if s.now.buf != nil {
			s.free <- s.now.buf
		}
		s.now, s.at = <-s.ready, 0
	}
	n := copy(p, s.now.buf[s.at:s.now.n])
	s.at += n
	if s.at == s.now.n {
		return n, s.now.err
	}
	return n, nil
}

// Close ends the stream, wherever it is; again is harmless.
func (s *stream) Close() error {
	s.closed.Do(func() {
		close(s.stop)
		s.group.Wait()
		s.recycle()
		s.now, s.at = chunk{err: errClosed}, 0
		s.err = s.from.Close()
	})
	return s.err
}

var errClosed = errors.New("the layer is closed")

// recycle gives all chunks back.
func (s *stream) recycle() {
	close(s.ready)
	close(s.free)
	for c := range s.ready {
		chunks.Put(c.buf)
	}
	for buf := range s.free {
		chunks.Put(buf)
	}
	if s.now.buf != nil {
		chunks.Put(s.now.buf)
	}
}
