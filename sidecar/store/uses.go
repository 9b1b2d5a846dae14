package store

import (
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// Grace is for how long what was read, stated or mounted counts as in use: a client
	// asks for one part of an image after the other.
	Grace = 2 * time.Minute
	// maxTouched bounds the memory of uses; beyond it, those that are over go first.
	maxTouched = 1 << 16
)

// A use is that of a blob or manifest of a repository.
type use struct {
	place
	d digest.Digest
}

// A touch is when something was used: by the store's clock, which orders images, and
// by the process's own, which nobody sets.
type touch struct {
	at      time.Time
	steady  time.Time // with a monotonic reading
	readers int
	flushed bool
}

// uses are what is and was used, in memory: a read writes nothing to a database. The
// worker writes them down now and then.
type uses struct {
	mu sync.Mutex
	m  map[use]*touch
	// now is time.Now, whose monotonic reading a clock that is set does not change.
	now func() time.Time
}

func newUses() *uses { return &uses{m: map[use]*touch{}, now: time.Now} }

func (s *uses) setNow(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// touch tells of a use that is over at once.
func (s *uses) touch(u use, at time.Time) { s.change(u, at, 0) }

// begin and end tell of one that lasts.
func (s *uses) begin(u use, at time.Time) { s.change(u, at, 1) }
func (s *uses) end(u use, at time.Time)   { s.change(u, at, -1) }

func (s *uses) change(u use, at time.Time, readers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.m[u]
	if t == nil {
		s.trim()
		t = &touch{}
		s.m[u] = t
	}
	t.at, t.steady, t.flushed = at, s.now(), false
	t.readers += readers
}

// trim forgets uses that were written down and are over, once there are many.
func (s *uses) trim() {
	if len(s.m) < maxTouched {
		return
	}
	for u, t := range s.m {
		if t.readers == 0 && (t.flushed || s.now().Sub(t.steady) > Grace) {
			delete(s.m, u)
		}
	}
	for u, t := range s.m { // all in the grace: any
		if len(s.m) < maxTouched {
			return
		}
		if t.readers == 0 {
			delete(s.m, u)
		}
	}
}

// current is what is in use, in one moment.
func (s *uses) current() map[use]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[use]bool{}
	for u, t := range s.m {
		if s.inUse(t) {
			m[u] = true
		}
	}
	return m
}

// has says whether something is in use.
func (s *uses) has(u use) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.m[u]
	return t != nil && s.inUse(t)
}

// inUse is called with the lock held.
func (s *uses) inUse(t *touch) bool { return t.readers > 0 || s.now().Sub(t.steady) <= Grace }

// fresh are the uses that were not written down yet, and when they were. What is over
// is forgotten.
func (s *uses) fresh() map[use]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[use]time.Time{}
	for u, t := range s.m {
		if !t.flushed {
			m[u], t.flushed = t.at, true
		} else if t.readers == 0 && s.now().Sub(t.steady) > Grace {
			delete(s.m, u)
		}
	}
	return m
}
