package content

import (
	"io"
	"sync"
)

const (
	relaySize  = 256 << 10 // of one buffer: as much as is mostly written at once
	relayDepth = 8         // how many buffers the reader may be behind
)

// A relay passes bytes to a reader that may be a few buffers behind. One goroutine
// writes, another one reads.
type relay struct {
	full, free chan []byte
	gone       chan struct{} // closed when nobody reads any more
	leave      sync.Once
	end        sync.Once
	err        error // set before full is closed
	rest, held []byte
}

func newRelay() *relay {
	r := &relay{full: make(chan []byte, relayDepth), free: make(chan []byte, relayDepth), gone: make(chan struct{})}
	for range relayDepth {
		r.free <- nil
	}
	return r
}

// Write copies p; it waits while the reader is too far behind, and drops p when
// there is none.
func (r *relay) Write(p []byte) {
	for len(p) > 0 {
		var buf []byte
		select {
		case buf = <-r.free:
		case <-r.gone:
			return
		}
		if buf == nil {
			buf = make([]byte, relaySize)
		}
		n := copy(buf[:cap(buf)], p)
		p = p[n:]
		r.full <- buf[:n] // there is room: no more buffers than that exist
	}
}

// finish says that there is no more: err is what the reader gets, or io.EOF.
func (r *relay) finish(err error) {
	r.end.Do(func() {
		if err == nil {
			err = io.EOF
		}
		r.err = err
		close(r.full)
	})
}

// Read reads what was written.
func (r *relay) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.held != nil {
			r.free <- r.held
			r.held = nil
		}
		buf, more := <-r.full
		if !more {
			return 0, r.err
		}
		r.held, r.rest = buf, buf
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// abandon lets the writer go on without a reader.
func (r *relay) abandon() { r.leave.Do(func() { close(r.gone) }) }
