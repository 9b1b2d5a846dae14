package store

import (
	"sync"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/registry"
)

const (
	// maxKept is how many references are answered from memory; one is some 300 bytes.
	maxKept = 8192
	// maxKeptBytes bounds the bytes of manifests besides.
	maxKeptBytes = 8 << 20
)

// resolved is what a reference leads to; raw is nil if nobody asked for it.
type resolved struct {
	desc ocispec.Descriptor
	raw  []byte
}

// manifestCache answers for references that were asked for lately.
type manifestCache struct {
	changes atomic.Uint64

	mu    sync.RWMutex
	m     map[place]map[registry.Ref]resolved
	count int
	bytes int
}

func newManifestCache() *manifestCache {
	return &manifestCache{m: map[place]map[registry.Ref]resolved{}}
}

func (c *manifestCache) find(p place, ref registry.Ref) (resolved, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.m[p][ref]
	return r, ok
}

// generation is taken before something is read that keep gets.
func (c *manifestCache) generation() uint64 { return c.changes.Load() }

// keep remembers what was read, unless anything has changed since then.
func (c *manifestCache) keep(generation uint64, p place, ref registry.Ref, r resolved) {
	if len(r.raw) > maxKeptBytes/8 {
		r.raw = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes.Load() != generation {
		return
	}
	for victim := range c.m { // any: what is in use comes back at once
		if c.count < maxKept && c.bytes+len(r.raw) <= maxKeptBytes {
			break
		}
		c.drop(victim)
	}
	refs := c.m[p]
	if refs == nil {
		refs = map[registry.Ref]resolved{}
		c.m[p] = refs
	}
	if old, ok := refs[ref]; ok {
		c.count--
		c.bytes -= len(old.raw)
	}
	refs[ref] = r
	c.count++
	c.bytes += len(r.raw)
}

// forget is called after something in a repository has changed.
func (c *manifestCache) forget(p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes.Add(1)
	c.drop(p)
}

// forgetAll is for changes in many.
func (c *manifestCache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes.Add(1)
	clear(c.m)
	c.count, c.bytes = 0, 0
}

func (c *manifestCache) drop(p place) {
	for _, r := range c.m[p] {
		c.count--
		c.bytes -= len(r.raw)
	}
	delete(c.m, p)
}
