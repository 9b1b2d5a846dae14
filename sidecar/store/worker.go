package store

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// flushEvery is how often uses are written down.
	flushEvery = time.Minute
	// collectEvery is how often it is looked whether anything is too old; what passes
	// the high mark is removed at once.
	collectEvery = 10 * time.Minute
	// againShare is how much of the high mark has to come, as a share, before it is
	// tried again to remove what could not be removed.
	againShare = 20
	// snapshotEvery is what a power failure may cost of a Volatile space.
	snapshotEvery = 5 * time.Minute
)

// A worker does in the background what nobody waits for.
type worker struct {
	cancel context.CancelFunc
	sweep  chan struct{}
	gather chan struct{}
	wg     sync.WaitGroup
	// ready is closed when what a crash left was put right.
	ready chan struct{}
}

// start starts it. After a crash it sweeps first.
func (s *Store) start(ctx context.Context) *worker {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &worker{cancel: cancel, sweep: make(chan struct{}, 1), gather: make(chan struct{}, 1), ready: make(chan struct{})}
	w.wg.Go(func() { s.run(ctx, w) })
	return w
}

func (w *worker) stop() {
	w.cancel()
	w.wg.Wait()
}

// sweepSoon has files removed that nobody sees; collectSoon has garbage looked for
// before. Both may be called while the store opens or closes.
func (w *worker) sweepSoon()   { kick(w, func(w *worker) chan struct{} { return w.sweep }) }
func (w *worker) collectSoon() { kick(w, func(w *worker) chan struct{} { return w.gather }) }

func kick(w *worker, of func(*worker) chan struct{}) {
	if w == nil {
		return
	}
	select {
	case of(w) <- struct{}{}:
	default: // it will
	}
}

// run is the worker's loop.
func (s *Store) run(ctx context.Context, w *worker) {
	s.log("put right what a crash left", s.recovered(ctx))
	close(w.ready)
	flush, snap := time.NewTicker(flushEvery), time.NewTicker(snapshotEvery)
	defer flush.Stop()
	defer snap.Stop()
	collected := s.o.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.sweep:
			_, err := s.sweep(ctx)
			s.log("remove what nobody sees", err)
		case <-w.gather:
			s.collectNow(ctx)
		case <-flush.C:
			s.log("write down what was used", s.flush(ctx))
			over := s.o.High > 0 && s.bytes.Load() > s.o.High
			if over || s.o.Now().Sub(collected).Abs() >= collectEvery {
				collected = s.o.Now()
				s.collectNow(ctx)
			}
		case <-snap.C:
			s.log("save cache.db", s.snapshot())
		}
	}
}

// collectNow collects, and tells of what went.
func (s *Store) collectNow(ctx context.Context) {
	c, err := s.Collect(ctx)
	s.log("collect", err)
	if c.Images > 0 {
		s.o.Log.Info("store: removed images", slog.Int("images", c.Images), slog.Int64("bytes", c.Bytes))
	}
}

// log tells of an error that nobody waits for.
func (s *Store) log(what string, err error) {
	if err != nil && !s.closed.Load() {
		s.o.Log.Error("store: could not "+what, slog.Any("error", err))
	}
}

// grow counts bytes that came; past the high mark it has the worker collect.
func (s *Store) grow(n int64) {
	if total := s.bytes.Add(n); s.o.High > 0 && total > s.trigger.Load() {
		s.work.collectSoon()
	}
}

// rearm says when to collect next: past the high mark or, where it is passed and nothing
// could go, when more has come.
func (s *Store) rearm() {
	s.trigger.Store(max(s.o.High, s.bytes.Load()+s.o.High/againShare))
}

// wait waits until what a crash left was put right.
func (s *Store) wait(ctx context.Context) error {
	select {
	case <-s.work.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
