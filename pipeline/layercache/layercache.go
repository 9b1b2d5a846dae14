package layercache

import (
	"context"
	"fmt"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

const (
	// DefaultSize is room for some 3000 layers, and read in a few hundredths of a
	// second.
	DefaultSize = 4 << 20
	// useInterval is how often the use of an entry is written down: so that a run
	// which only uses the cache need not write it.
	useInterval = time.Hour
)

// Config is how a cache is kept. The zero value works.
type Config struct {
	// Size bounds the file in bytes; 0 stands for DefaultSize. What was not used
	// for longest is forgotten.
	Size int64
	// Filters are the filters of this run as the user wrote them: they identify
	// a recipe for the Python tool.
	Filters []string
	// Warn is told what the user should know: a damaged file was set aside.
	Warn func(message string)
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// A Cache is an open cache file. It may be used by many goroutines at once.
type Cache struct {
	file file
	cfg  Config

	mu      sync.Mutex
	content *content
	fresh   content // recorded since, or used
	dirty   bool    // fresh is worth writing
}

var _ pipeline.Cache = (*Cache)(nil)

// Open reads a cache file. One that is not there is an empty cache; one that is
// damaged is set aside, told of, and rebuilt with what could be read of it. One
// that others may write to is an error.
func Open(ctx context.Context, path string, cfg Config) (*Cache, error) {
	c := newCache(path, cfg)
	raw, err := c.file.read()
	if err != nil {
		return nil, c.file.explain(err)
	}
	var damage []error
	c.content, damage = c.decode(raw)
	if len(damage) > 0 {
		if err := c.rebuild(ctx); err != nil {
			return nil, c.file.explain(err)
		}
	}
	return c, nil
}

func newCache(path string, cfg Config) *Cache {
	if cfg.Size <= 0 {
		cfg.Size = DefaultSize
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Warn == nil {
		cfg.Warn = func(string) {}
	}
	return &Cache{file: newFile(path, cfg.Size), cfg: cfg, content: newContent(), fresh: *newContent()}
}

// rebuild sets a damaged file aside and writes what could be read of it.
func (c *Cache) rebuild(ctx context.Context) error {
	return c.file.update(ctx, func(raw []byte) ([]byte, error) {
		now, damage := c.decode(raw)
		c.content = now
		if len(damage) == 0 { // somebody else was faster
			return nil, nil
		}
		if err := c.setAside(damage); err != nil {
			return nil, err
		}
		return now.encode()
	})
}

// decode reads a file as content.
func (c *Cache) decode(raw []byte) (*content, []error) {
	if int64(len(raw)) > c.file.most {
		return newContent(), []error{fmt.Errorf("it has more than %d bytes", c.file.most)}
	}
	return decode(raw, c.cfg.Now())
}

func (c *Cache) setAside(damage []error) error {
	aside, err := c.file.setAside()
	if err != nil {
		return err
	}
	more := ""
	if len(damage) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(damage)-1)
	}
	c.cfg.Warn(fmt.Sprintf("the layer cache %s is damaged: %v%s; it is kept as %s, and a new one is made with what could be read", c.file.path, damage[0], more, aside))
	return nil
}

// Lookup returns what a layer became. An entry of the Python tool names no diff
// ID and counts where no filter changes layers; nobody has hashed it here. What
// this program tells that tool does not count: outcomes say it better.
func (c *Cache) Lookup(k pipeline.CacheKey) (pipeline.CachedLayer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.content.outcomes[keyOf(k)]; ok {
		c.use(keyOf(k), e)
		return e.cached(), true
	}
	old, ok := c.content.layers[k.Layer]
	if !ok || old.Recipe != "" || !k.SameTar || old.FiltersHash != filtersHash(string(k.Compression), c.cfg.Filters) {
		return pipeline.CachedLayer{}, false
	}
	return pipeline.CachedLayer{
		Blob:        ocispec.Descriptor{Digest: old.Digest, Size: old.Size},
		Compression: k.Compression, DiffID: k.Layer, Claimed: true,
	}, true
}

// use notes that an entry is of use.
func (c *Cache) use(k outcomeKey, e outcome) {
	now := c.cfg.Now()
	c.dirty = c.dirty || now.Sub(e.Used) >= useInterval
	e.Used = now
	c.content.outcomes[k], c.fresh.outcomes[k] = e, e
}

// Record remembers what a layer became.
func (c *Cache) Record(k pipeline.CacheKey, l pipeline.CachedLayer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, now := keyOf(k), c.cfg.Now()
	e := outcome{
		Layer: k.Layer, Recipe: k.Recipe, Digest: l.Blob.Digest, Size: l.Blob.Size,
		MediaType: mediaType(l), DiffID: l.DiffID, Place: l.Place, Recorded: now, Used: now,
	}
	if l.Claimed || e.check() != nil {
		return
	}
	if was, ok := c.content.outcomes[key]; ok && was.same(e) {
		c.use(key, was)
		return
	}
	c.dirty = true
	c.content.outcomes[key], c.fresh.outcomes[key] = e, e
	if k.Recipe == "" || l.Compression == pipeline.Plain {
		return // the Python tool would not have written it
	}
	old := layer{
		Digest: e.Digest, Size: e.Size, MediaType: e.MediaType,
		FiltersHash: filtersHash(string(l.Compression), c.cfg.Filters), Time: now, Recipe: k.Recipe,
	}
	source := k.Layer
	if plain, ok := c.content.outcomes[outcomeKey{k.Layer, ""}]; ok {
		source = plain.DiffID
	}
	c.content.layers[source], c.fresh.layers[source] = old, old
}

// Save writes what was recorded, together with what other programs have written
// in the meantime.
func (c *Cache) Save(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty {
		return nil
	}
	err := c.file.update(ctx, func(raw []byte) ([]byte, error) {
		now, damage := c.decode(raw)
		if len(damage) > 0 {
			if err := c.setAside(damage); err != nil {
				return nil, err
			}
		}
		now.merge(&c.fresh)
		c.content = now
		return now.within(c.cfg.Size)
	})
	if err != nil {
		return c.file.explain(err)
	}
	c.fresh, c.dirty = *newContent(), false
	return nil
}

func mediaType(l pipeline.CachedLayer) string {
	switch l.Compression { //nolint:exhaustive // no layer is written with the others
	case pipeline.Gzip:
		return ocispec.MediaTypeImageLayerGzip
	case pipeline.Zstd:
		return ocispec.MediaTypeImageLayerZstd
	case pipeline.Plain:
		return ocispec.MediaTypeImageLayer
	}
	return "" // it is not remembered
}

func keyOf(k pipeline.CacheKey) outcomeKey { return outcomeKey{k.Layer, k.Recipe} }
