package pull

import (
	"context"
	"sync"
	"time"
)

// Flights that nobody waits for go on, since their bytes are paid for already, but
// within these bounds.
const (
	// finishSize is what may be left of one, in bytes.
	finishSize = 1 << 30
	// finishTime is how long one may take that has less left; backTime is how long one
	// that has more goes on for a client that comes back after it was cut.
	finishTime = 10 * time.Minute
	backTime   = 30 * time.Second
	// maxAlone is how many go on at once.
	maxAlone = 16
)

// flights are the blobs that arrive from one upstream.
type flights struct {
	mu    sync.Mutex
	m     map[flightKey]*flight
	alone int
}

// join finds the flight of a blob, or has start make one, and counts the caller as
// its reader until leave, which may be called more than once.
func (s *flights) join(key flightKey, start func() *flight) (f *flight, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f = s.m[key]
	if f == nil {
		if start == nil {
			return nil, nil
		}
		f = start()
		if s.m == nil {
			s.m = map[flightKey]*flight{}
		}
		s.m[key] = f
	}
	f.mu.Lock()
	f.readers++
	if f.left != nil {
		f.left.Stop()
		f.left = nil
		s.alone--
	}
	f.mu.Unlock()
	return f, sync.OnceFunc(func() { s.leave(f) })
}

// leave ends one reader's interest. The last one's leaves the flight alone.
func (s *flights) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers--; f.readers > 0 || f.ended || s.m[f.key] != f {
		return
	}
	if s.alone >= maxAlone {
		s.end(f)
		return
	}
	wait := backTime
	if f.long = f.size-f.seen <= finishSize; f.long {
		wait = finishTime
	}
	s.alone++
	f.times++
	n := f.times
	f.left = time.AfterFunc(wait, func() { s.giveUp(f, n) })
}

// giveUp ends a flight to which nobody has come back since it was alone for the nth time.
func (s *flights) giveUp(f *flight, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left != nil && f.times == n {
		f.left = nil
		s.alone--
		s.end(f)
	}
}

// end stops a flight. It takes a moment to its end, and who comes meanwhile begins another
// one. The caller holds both locks.
func (s *flights) end(f *flight) {
	if s.m[f.key] == f {
		delete(s.m, f.key)
	}
	f.from(errAlone)
}

// drop forgets a flight that has ended.
func (s *flights) drop(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.m[f.key] == f {
		delete(s.m, f.key)
	}
	if f.left != nil {
		f.left.Stop()
		f.left = nil
		s.alone--
	}
}

// attend counts a request as a reader for as long as it lasts: it was told the size,
// and comes for the bytes.
func attend(ctx context.Context, leave func()) { context.AfterFunc(ctx, leave) }
