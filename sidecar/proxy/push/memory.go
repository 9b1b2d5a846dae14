package push

import (
	"context"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
)

// maxRemembered bounds each half of a memory. What is forgotten is found out again, or,
// of a note, is as if the process had started anew.
const maxRemembered = 100_000

// memory is a pipeline.Cache, and Notes, of this process.
type memory struct {
	mu     sync.Mutex
	layers map[cacheKey]pipeline.CachedLayer
	facts  map[[2]string][]byte
}

type cacheKey struct{ layer, recipe string }

var (
	_ pipeline.Cache = (*memory)(nil)
	_ Notes          = (*memory)(nil)
)

func newMemory() *memory {
	return &memory{layers: map[cacheKey]pipeline.CachedLayer{}, facts: map[[2]string][]byte{}}
}

// put keeps a map within its bound: any entry goes for a new one.
func put[K comparable, V any](m map[K]V, k K, v V) {
	if _, have := m[k]; !have && len(m) >= maxRemembered {
		for old := range m {
			delete(m, old)
			break
		}
	}
	m[k] = v
}

// Lookup finds what a layer became.
func (m *memory) Lookup(k pipeline.CacheKey) (pipeline.CachedLayer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.layers[cacheKey{k.Layer.String(), k.Recipe}]
	return l, ok
}

// Record remembers it.
func (m *memory) Record(k pipeline.CacheKey, l pipeline.CachedLayer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	put(m.layers, cacheKey{k.Layer.String(), k.Recipe}, l)
}

// Fact finds a note.
func (m *memory) Fact(_ context.Context, repository, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.facts[[2]string{repository, key}]; ok {
		return v, nil
	}
	return nil, pipeline.ErrNotFound
}

// SetFact remembers one.
func (m *memory) SetFact(_ context.Context, repository, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	put(m.facts, [2]string{repository, key}, value)
	return nil
}
