package access

import (
	"crypto/sha256"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how old what is known of a file may be.
	lookEvery = time.Second
	// settled is when a file's time tells that it was not written to since: clocks
	// of file systems have coarse ticks, so that two versions may have one time.
	settled = 2 * time.Second
)

// A watched value is what is in files, which are read again when they have changed. While they
// cannot be read, or hold nonsense, the value stays as it was.
type watched[T any] struct {
	names  []string
	parse  func(raw [][]byte) (T, error)
	now    func() time.Time
	failed func(err error)

	value atomic.Pointer[T]
	mu    sync.Mutex // one looks, and nobody waits for him
	seen  []os.FileInfo
	sum   [sha256.Size]byte
	next  time.Time
}

// watch reads files for the first time.
func watch[T any](now func() time.Time, failed func(error), parse func([][]byte) (T, error), names ...string) (*watched[T], error) {
	w := &watched[T]{names: names, parse: parse, now: now, failed: failed}
	return w, w.look()
}

// open watches one file of a Guard's settings, if it is given.
func open[T any](at **watched[T], c Config, name string, parse func([]byte) (T, error)) (err error) {
	if name == "" {
		return nil
	}
	failed := func(err error) { c.Log.Error("a file of "+c.files()+" stays as it was", "error", err) }
	*at, err = watch(c.Now, failed, func(raw [][]byte) (T, error) {
		v, err := parse(raw[0])
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return v, err
	}, name)
	return err
}

// get is the value as of now, give or take a second.
func (w *watched[T]) get() T {
	if w.mu.TryLock() {
		if now := w.now(); !now.Before(w.next) || w.next.Sub(now) > lookEvery { // a clock may jump back
			w.next = now.Add(lookEvery)
			if err := w.look(); err != nil {
				w.failed(err)
			}
		}
		w.mu.Unlock()
	}
	return *w.value.Load()
}

// look reads the files if they are others than before. An error is told once.
func (w *watched[T]) look() error {
	infos := make([]os.FileInfo, len(w.names))
	for i, name := range w.names {
		info, err := os.Stat(name)
		if err != nil {
			return w.once(nil, err)
		}
		infos[i] = info
	}
	if w.same(infos) {
		return nil
	}
	h := sha256.New()
	raw := make([][]byte, len(w.names))
	for i, name := range w.names {
		text, err := os.ReadFile(name)
		if err != nil {
			return w.once(nil, err)
		}
		raw[i] = text
		s := sha256.Sum256(text)
		h.Write(s[:])
	}
	w.seen = infos
	for _, info := range infos {
		if w.now().Sub(info.ModTime()) < settled {
			w.seen = nil // look again
		}
	}
	sum := [sha256.Size]byte(h.Sum(nil))
	if sum == w.sum {
		return nil
	}
	w.sum = sum
	v, err := w.parse(raw)
	if err == nil {
		w.value.Store(&v)
	}
	return err
}

// once passes an error on unless it is the same as the last time.
func (w *watched[T]) once(seen []os.FileInfo, err error) error {
	w.seen = seen
	sum := sha256.Sum256([]byte(err.Error()))
	if w.sum == sum {
		return nil
	}
	w.sum = sum
	return err
}

func (w *watched[T]) same(infos []os.FileInfo) bool {
	if len(w.seen) != len(infos) {
		return false
	}
	for i, a := range infos {
		if b := w.seen[i]; !os.SameFile(a, b) || !a.ModTime().Equal(b.ModTime()) || a.Size() != b.Size() {
			return false
		}
	}
	return true
}
