package registry

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
)

// maxSessions bounds the hash states that are kept between requests. Without
// one, an upload is read once more at its end.
const maxSessions = 4096

// sessions are the uploads that have a hash state, or a request that writes.
type sessions struct {
	mu sync.Mutex
	m  map[string]*session
}

// A session is what the Handler knows of an upload between requests.
type session struct {
	busy      bool
	algorithm digest.Algorithm
	sum       digest.Digester // nil: not known
	hashed    int64
}

// take gives an upload to one request; nil when another has it.
func (s *sessions) take(id string, a digest.Algorithm) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.m[id]
	switch {
	case have == nil:
		have = &session{algorithm: a, sum: a.Digester()}
		if s.m == nil {
			s.m = map[string]*session{}
		}
		s.evict()
		s.m[id] = have
	case have.busy:
		return nil
	}
	have.busy = true
	return have
}

// evict makes room by forgetting hash states, any of those that wait.
func (s *sessions) evict() {
	for id, old := range s.m {
		if len(s.m) < maxSessions {
			return
		}
		if !old.busy {
			delete(s.m, id)
		}
	}
}

// release ends a request's turn.
func (s *sessions) release(id string, have *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have.busy = false
	if have.hashed == 0 { // nothing to remember
		s.drop(id, have)
	}
}

// forget is for uploads that have ended.
func (s *sessions) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, id)
}

func (s *sessions) drop(id string, have *session) {
	if s.m[id] == have {
		delete(s.m, id)
	}
}

// A hashing writes to an upload, and hashes what was written.
type hashing struct {
	up Upload
	s  *session
}

func (w hashing) Write(p []byte) (int, error) {
	n, err := w.up.Write(p)
	if w.s.sum != nil {
		_, _ = w.s.sum.Hash().Write(p[:n]) // a hash never fails
		w.s.hashed += int64(n)
	}
	return n, err
}

// sync forgets a hash that is not that of all the upload's bytes, as after a
// restart.
func (s *session) sync(up Upload) {
	if s.hashed != up.Size() {
		s.sum, s.hashed = nil, 0
	}
}

// digest is that of all that was written. What was not hashed in passing with
// this algorithm is read again.
func (s *session) digest(ctx context.Context, up Upload, a digest.Algorithm) (digest.Digest, error) {
	s.sync(up)
	if s.sum != nil && s.algorithm == a {
		return s.sum.Digest(), nil
	}
	rc, err := up.Open(ctx)
	if err != nil {
		return "", fmt.Errorf("read the upload again: %w", err)
	}
	defer rc.Close()
	sum := a.Digester()
	if _, err := io.Copy(sum.Hash(), rc); err != nil {
		return "", fmt.Errorf("read the upload again: %w", err)
	}
	return sum.Digest(), nil
}

// newID makes the name of an upload that nobody can guess (RFC 9562, version 4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
