package layercache

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// An Entry is one thing that a cache knows, for people to look at.
type Entry struct {
	// Layer is a diff ID or the digest of stored bytes, as in pipeline.CacheKey.
	Layer digest.Digest
	// Recipe is what was done; "" says what the stored bytes hold.
	Recipe string
	// FiltersHash, if set, stands for a recipe of the Python tool.
	FiltersHash    string
	Digest         digest.Digest
	Size           int64
	MediaType      string
	DiffID         digest.Digest // "" in an entry of the Python tool
	Place          string        // the repository that held it last; "" where it is not known
	Recorded, Used time.Time
}

// Inspect reads a cache file as Open does, and leaves it as it is: damage is what
// could not be read of it.
func Inspect(path string, cfg Config) (c *Cache, damage []error, err error) {
	c = newCache(path, cfg)
	raw, err := c.file.read()
	if err != nil {
		return nil, nil, c.file.explain(err)
	}
	c.content, damage = c.decode(raw)
	return c, damage, nil
}

// Entries are all that the cache knows, what was used last first. Those that this
// program has written for the Python tool are not told twice.
func (c *Cache) Entries() []Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.content.entries()
}

func (c *content) entries() (all []Entry) {
	told := map[digest.Digest]bool{}
	for _, o := range c.outcomes {
		all = append(all, Entry{
			Layer: o.Layer, Recipe: o.Recipe, Digest: o.Digest, Size: o.Size, MediaType: o.MediaType, DiffID: o.DiffID,
			Place: o.Place, Recorded: o.Recorded, Used: o.Used,
		})
		told[o.Digest] = true
	}
	for d, l := range c.layers {
		if !told[l.Digest] {
			all = append(all, l.entry(d))
		}
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.Recipe, b.Recipe))
	})
	return all
}

func (l *layer) entry(d digest.Digest) Entry {
	return Entry{Layer: d, FiltersHash: l.FiltersHash, Digest: l.Digest, Size: l.Size, MediaType: l.MediaType, Recorded: l.Time, Used: l.Time}
}

// Prune forgets the entries that drop names, then what was not used for longest
// until the file has no more than size bytes; 0 is the bound of Config. It returns
// how many entries there were and are.
func (c *Cache) Prune(ctx context.Context, drop func(Entry) bool, size int64) (were, are int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.file.update(ctx, func(raw []byte) ([]byte, error) {
		now, damage := c.decode(raw)
		if len(damage) > 0 {
			if err := c.setAside(damage); err != nil {
				return nil, err
			}
		}
		were = len(now.entries())
		now.drop(drop)
		out, err := now.within(cmp.Or(size, c.cfg.Size))
		c.content, are = now, len(now.entries())
		if raw == nil {
			return nil, nil // there is no file, and none is needed
		}
		return out, err
	})
	if err != nil {
		return 0, 0, c.file.explain(err)
	}
	return were, are, nil
}

func (c *content) drop(drop func(Entry) bool) {
	gone := map[digest.Digest]bool{}
	for _, e := range c.entries() {
		if drop(e) {
			delete(c.outcomes, outcomeKey{e.Layer, e.Recipe})
			gone[e.Digest] = true
		}
	}
	maps.DeleteFunc(c.layers, func(_ digest.Digest, l layer) bool { return gone[l.Digest] })
}
