package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"
)

var errStalled = errors.New("the connection stalled")

// A watchdog cuts a connection that moves no byte for too long.
type watchdog struct {
	timer *time.Timer
	limit time.Duration
}

func newWatchdog(limit time.Duration, cut context.CancelCauseFunc) *watchdog {
	t := time.AfterFunc(limit, func() { cut(fmt.Errorf("%w: nothing for %s", errStalled, limit)) })
	return &watchdog{t, limit}
}

// guard watches one operation that must move something.
func (w *watchdog) guard(op func() (int, error)) (int, error) {
	w.timer.Reset(w.limit)
	defer w.timer.Stop()
	return op()
}

// throttle waits until n bytes may pass. n is at most what portion allows.
func throttle(ctx context.Context, l *rate.Limiter, n int) error {
	if l == nil || n == 0 {
		return nil
	}
	return l.WaitN(ctx, n)
}

// portion is the part of p that may pass the limiter at once.
func portion(l *rate.Limiter, p []byte) []byte {
	if l == nil {
		return p
	}
	return p[:min(len(p), l.Burst())]
}

// A limited reader is a request's body under the rate limit.
type limited struct {
	ctx   context.Context //nolint:containedctx // io.Reader has no context; this one ends with the request
	r     io.Reader
	limit *rate.Limiter
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(portion(l.limit, p))
	if waited := throttle(l.ctx, l.limit, n); waited != nil {
		return n, waited
	}
	return n, err
}

// An answer is a response's body: watched, counted against the rate limit, and
// the holder of a place in the gate until it is closed.
type answer struct {
	ctx    context.Context //nolint:containedctx // io.Reader has no context; this one ends with Close
	cancel context.CancelCauseFunc
	body   io.ReadCloser
	dog    *watchdog
	limit  *rate.Limiter
	gate   *gate
	leave  func()
}

var errClosed = errors.New("closed")

// Read reads what has come. A cut connection is a cutError.
func (a *answer) Read(p []byte) (int, error) {
	p = portion(a.limit, p)
	n, err := a.dog.guard(func() (int, error) { return a.body.Read(p) })
	if n > 0 {
		a.gate.touch()
		if waited := throttle(a.ctx, a.limit, n); waited != nil {
			return n, context.Cause(a.ctx)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = connectionError(a.ctx, err)
	}
	return n, err
}

// Close gives the connection back, or up if there is more to come.
func (a *answer) Close() error {
	err := a.body.Close()
	a.dog.timer.Stop()
	a.cancel(errClosed)
	a.leave()
	return err
}
