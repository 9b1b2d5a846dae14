package pgzip

import (
	"runtime"
	"sync"
)

// A crew compresses the chunks of all Writers of the process, in the order in
// which they come, with as many goroutines as there are cores. A goroutine
// lives while there are chunks: an idle Writer has none.
type crew struct {
	mu    sync.Mutex
	queue []*chunk
	busy  int // goroutines
}

var workers crew

func (w *crew) submit(c *chunk) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, c)
	if w.busy < runtime.GOMAXPROCS(0) {
		w.busy++
		go w.work()
	}
}

func (w *crew) work() {
	for c := w.take(); c != nil; c = w.take() {
		c.compress()
	}
}

// take is the oldest chunk that waits; with nil the goroutine must end.
func (w *crew) take() *chunk {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.busy--
		w.queue = nil // the array would only grow
		return nil
	}
	c := w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	return c
}
