package compare

import (
	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

func (c *Comparison) lock(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

// openShelf makes the temporary file, once it is needed.
func (c *Comparison) openShelf() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shelf != nil {
		return nil
	}
	f, err := spool.New(c.opts.TempDir)
	if err != nil {
		return err
	}
	c.shelf = &shelf{file: f}
	return nil
}

// take keeps the runs of the layers that a reader has read, by their diff IDs.
func (c *Comparison) take(r *reader, i *Image) {
	for _, known := range r.images {
		if known.Manifest.Digest != i.Manifest.Digest {
			continue
		}
		n := 0
		for _, l := range known.Layers {
			for n < len(i.Layers) && i.Layers[n].Blob.Digest != l.Blob.Digest {
				n++ // a blob that is no file system
			}
			if n == len(i.Layers) {
				return
			}
			if s := r.layers[l.ID]; s != nil {
				c.runs[i.Layers[n].DiffID] = s.runs
				c.links = c.links || s.links
			}
			n++
		}
		return
	}
}

// place says which records are those of which layer of both images, from a
// position on.
func (c *Comparison) place(from int) {
	for _, i := range []*Image{c.A, c.B} {
		i.layers, i.Unread = nil, nil
		for n, l := range i.Layers[from:] {
			runs, ok := c.runs[l.DiffID]
			if !ok {
				i.Unread = append(i.Unread, from+n)
				continue
			}
			i.layers = append(i.layers, layerRuns{from + n, runs})
		}
	}
}

// mark says of each layer whether it is shared and was read.
func (c *Comparison) mark() {
	for _, i := range []*Image{c.A, c.B} {
		for n := range i.Layers {
			i.Layers[n].Shared = n < c.shared
		}
		for _, l := range i.layers {
			i.Layers[l.position].Read = true
		}
	}
}
