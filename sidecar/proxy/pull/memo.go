package pull

import (
	"container/list"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// memoSize bounds the manifests in memory, in bytes; an image's is a few KB.
	memoSize = 8 << 20
	// memoTime is how long one is answered without a look into the store, which then
	// learns that it is used still.
	memoTime = 20 * time.Second
)

// A memo has manifests that were just read from the store. It is what makes answers
// to requests in a row cheap.
type memo struct {
	mu    sync.Mutex
	size  int
	order *list.List // the latest first
	m     map[string]*list.Element
}

type memorised struct {
	key  string
	desc ocispec.Descriptor
	raw  []byte
	at   time.Time
}

func (m *memo) init() { m.order, m.m = list.New(), map[string]*list.Element{} }

// get returns a manifest that was put a moment ago.
func (m *memo) get(key string, now time.Time) (ocispec.Descriptor, []byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.m[key]
	if e == nil {
		return ocispec.Descriptor{}, nil, false
	}
	v := e.Value.(*memorised) //nolint:forcetypeassert // the list has nothing else
	if age := now.Sub(v.at); age < 0 || age >= memoTime {
		m.remove(e)
		return ocispec.Descriptor{}, nil, false
	}
	m.order.MoveToFront(e)
	return v.desc, v.raw, true
}

// put remembers a manifest.
func (m *memo) put(key string, desc ocispec.Descriptor, raw []byte, now time.Time) {
	if len(raw) > memoSize/4 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.m[key]; e != nil {
		m.remove(e)
	}
	m.m[key] = m.order.PushFront(&memorised{key, desc, raw, now})
	for m.size += len(raw); m.size > memoSize; {
		m.remove(m.order.Back())
	}
}

func (m *memo) remove(e *list.Element) {
	v := m.order.Remove(e).(*memorised) //nolint:forcetypeassert // as above
	delete(m.m, v.key)
	m.size -= len(v.raw)
}
