//go:build unix

package fault

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
	"github.com/occystrap/occystrap/sidecar/store"
)

const (
	// kills is how often the proxy is killed; with -short it is fewKills.
	kills, fewKills = 200, 20
	// verifyEvery is after how many kills the whole store is read.
	verifyEvery = 20
	// longestRun is how long the proxy has for its work before it is killed.
	longestRun = 80 * time.Millisecond
)

// kill -9 at any moment: what was answered is there afterwards, all that is served is
// what it should be, and what was cut can be done again.
func TestKilledProxyLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	up := proxytest.NewRegistry(t)
	c := newChild(t, settings(dir, up.Host))
	killAll(c, allWorkers(t, c.base, up), often(kills, fewKills), c.kill, func() { verify(t, dir) })
}

// often is how often something is done; few is for -short.
func often(many, few int) int {
	if testing.Short() {
		return few
	}
	return many
}

// killAll kills a proxy n times at any moment of its workers' work, by kill, and looks
// each time whether all is as it may be. While it is dead, look is called now and then.
func killAll(c *child, workers []*worker, n int, kill, look func()) {
	t := c.t
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	cut := 0
	for killed := 1; killed <= n; killed++ {
		c.revive(workers)
		cut += work(c, workers, killed%2 == 1, time.Duration(r.Int64N(int64(longestRun))), kill)
		if killed%verifyEvery == 0 {
			look()
		}
	}
	c.revive(workers)
	kill()
	look()
	ops := 0
	for _, w := range workers {
		ops += w.done
	}
	t.Logf("%d kills, %d operations were answered, %d were cut", n, ops, cut)
	if cut == 0 || ops < n/2 {
		t.Errorf("%d kills: %d operations were cut, %d answered", n, cut, ops)
	}
}

// revive starts the proxy again, and has the workers do again what was cut.
func (c *child) revive(workers []*worker) {
	c.t.Helper()
	c.start()
	var g errgroup.Group
	for _, w := range workers {
		g.Go(func() error { return w.recover(c.life) })
	}
	must(c.t, g.Wait())
}

// allWorkers are a mixed load: pushes with and without filters, tag moves, deletes,
// and pulls through the proxy.
func allWorkers(t *testing.T, base string, up *proxytest.Registry) []*worker {
	t.Helper()
	var workers []*worker
	for i, repo := range []string{"plain/a", "plain/b", "filtered/a", "filtered/b", "team/app", "team/tool", "filtered/pulled"} {
		w := newWorker(t, base, repo, uint64(i))
		if w.pulls = i >= 4; w.pulls {
			for j, image := range w.images {
				up.Push(t, repo, w.store, image, "t"+string(rune('0'+j%workerTags)))
			}
		}
		workers = append(workers, w)
	}
	return workers
}

// recover does again what was cut, and looks whether all is as it may be.
func (w *worker) recover(ctx context.Context) error {
	if err := w.check(ctx); err != nil {
		return err
	}
	if w.last == nil {
		return nil
	}
	return w.last(ctx)
}

// work has all workers work for a while, which begins when one of them has done
// something if some is so; ends the proxy and returns how many of them were in the
// middle of something. Before the end nothing may fail.
func work(c *child, workers []*worker, some bool, moment time.Duration, end func()) int {
	t := c.t
	t.Helper()
	var ended atomic.Bool
	var cut, answered atomic.Int64
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(func() {
			for !ended.Load() {
				if err := w.step(c.life); err != nil {
					if !ended.Load() {
						t.Errorf("%s: %v", w.name, err)
					}
					cut.Add(1)
					return
				}
				answered.Add(1)
			}
		})
	}
	if some {
		eventually(t, "something is done", func() bool { return answered.Load() > 0 || t.Failed() })
	}
	<-time.After(moment) // the moment is to be any; nothing depends on it
	ended.Store(true)
	end()
	all.Wait()
	c.hangUp()
	if t.Failed() {
		t.FailNow()
	}
	return int(cut.Load())
}

// verify opens the store of a proxy that does not run, and reads all of it.
func verify(t *testing.T, dir string) {
	t.Helper()
	ctx := context.Background() // also at the end of a test
	s, err := store.Open(ctx, dir, store.Options{})
	must(t, err)
	if err := s.Verify(ctx, func(f store.Fault) { t.Errorf("store: %+v", f) }); err != nil {
		t.Error(err)
	}
	must(t, s.Close())
}
