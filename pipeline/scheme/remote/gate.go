package remote

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A gate bounds how many connections move bytes at once. The bound is soft: the
// one who reads a layer may have to read another before it can go on (a filter
// that follows a hard link into a lower layer), so when all inside have stood
// still for a while, one more is let in rather than have all wait for ever.
type gate struct {
	slots chan struct{} // nil: no bound
	moved atomic.Int64  // when a byte last moved, in nanoseconds of Unix time
}

const (
	gateLook  = 250 * time.Millisecond
	gateStill = time.Second
)

func newGate(workers int) *gate {
	if workers < 1 {
		return &gate{}
	}
	return &gate{slots: make(chan struct{}, workers)}
}

// enter waits for a place. The caller leaves once, by the function returned;
// calling it again is harmless.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	if g.slots == nil {
		return func() {}, nil
	}
	select { // the common case needs no timer
	case g.slots <- struct{}{}:
		g.touch()
		return sync.OnceFunc(func() { <-g.slots }), nil
	default:
	}
	tick := time.NewTicker(gateLook)
	defer tick.Stop()
	for {
		select {
		case g.slots <- struct{}{}:
			g.touch()
			return sync.OnceFunc(func() { <-g.slots }), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case now := <-tick.C:
			last := g.moved.Load()
			if now.UnixNano()-last > int64(gateStill) && g.moved.CompareAndSwap(last, now.UnixNano()) {
				return func() {}, nil
			}
		}
	}
}

// touch notes that bytes move.
func (g *gate) touch() {
	if g.slots != nil {
		g.moved.Store(time.Now().UnixNano())
	}
}
