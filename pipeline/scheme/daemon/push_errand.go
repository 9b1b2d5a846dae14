package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

const (
	// turnTime is how long a push may wait for its turn, which others have: Docker
	// sends five blobs at a time, or as few as its max-concurrent-uploads says.
	turnTime = 2 * time.Second
	// idleRead is how long nobody has read from what is then put aside.
	idleRead = time.Second
)

// A running errand is a push that brings one blob to whoever reads it.
type running struct {
	*courier
	s    *stored
	stop context.CancelFunc
	done chan struct{} // closed when the push has ended
}

var _ io.ReadCloser = (*running)(nil)

// run begins an errand.
func (s *stored) run(ctx context.Context, e errand, desc ocispec.Descriptor) *running {
	r := &running{courier: newCourier(desc, s.p.target.TempDir), s: s, done: make(chan struct{})}
	ctx, r.stop = context.WithCancel(ctx)
	s.mu.Lock()
	s.busy[r.courier] = true
	s.mu.Unlock()
	stopToo := context.AfterFunc(s.p.ctx, r.stop) //nolint:contextcheck // it ends with the graph, too
	go func() {
		defer close(r.done)
		defer stopToo()
		l := s.p.desk.newLogin()
		defer l.end()
		l.opens(s.p.handler(r.backend()))
		waiting := make(chan struct{})
		go func() {
			defer close(waiting)
			r.wait(ctx)
		}()
		err := s.p.e.push(ctx, e.name, l, e.platform)
		if err == nil {
			err = errors.New("the daemon says that it has pushed the image")
		}
		if words := err.Error(); strings.Contains(words, desc.Digest.String()+": not found") {
			err = fmt.Errorf("%w (%w)", pipeline.ErrNotFound, err) // the daemon does not hold it
		}
		r.end(fmt.Errorf("the daemon did not send blob %s: %w", desc.Digest, err))
		r.stop()
		<-waiting
	}()
	return r
}

// wait makes room for a blob whose turn does not come.
func (r *running) wait(ctx context.Context) {
	t := time.NewTicker(turnTime)
	defer t.Stop()
	for {
		select {
		case <-r.begun:
			return
		case <-ctx.Done():
			return
		case <-t.C:
			r.s.makeRoom()
		}
	}
}

// makeRoom puts aside what nobody reads.
func (s *stored) makeRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.busy {
		c.spill(idleRead)
	}
}

// Close ends the push, wherever it is.
func (r *running) Close() error {
	r.end(errEnough)
	r.stop()
	<-r.done
	r.s.mu.Lock()
	delete(r.s.busy, r.courier)
	r.s.mu.Unlock()
	return r.courier.Close()
}
