package check

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A layer is what one pass over a layer leaves.
type layer struct {
	findings
	roll   roll
	stored *pipeline.Stored
	diffID digest.Digest // "" where the tar is broken
	err    error         // why it could not be read
}

var (
	_ pipeline.StreamWatcher = (*checker)(nil)
	_ pipeline.Finisher      = (*checker)(nil)
)

// Recipe says that layers stay as they are.
func (*checker) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: "check"} }

// Layer returns the handler that looks at one layer.
func (c *checker) Layer(_ context.Context, l pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	out := &layer{roll: roll{room: &c.room}}
	c.mu.Lock()
	c.attempts[l.ID] = out
	c.mu.Unlock()
	return &reading{layer: out, sum: tarstream.NewSum(next)}, nil
}

// Stored learns how a layer is compressed.
func (c *checker) Stored(id pipeline.LayerID, s pipeline.Stored) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.attempts[id]; l != nil {
		l.stored = &s
	}
}

// Images tells which layers make up which image.
func (c *checker) Images(images []pipeline.ImageLayers) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.images = images
	return nil
}

// Done takes what was found in a layer.
func (c *checker) Done(seen pipeline.LayerSeen) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.attempts[seen.ID]
	delete(c.attempts, seen.ID)
	if l == nil {
		l = &layer{}
	}
	l.err = seen.Err
	c.layers[seen.ID] = l
	return nil
}

// reading looks at the entries of a layer.
type reading struct {
	*layer
	sum *tarstream.Sum
}

func (r *reading) Entry(e *tarstream.Entry) error {
	h := e.Header()
	if h.Type != tarstream.TypeGlobal {
		r.see(h)
	}
	return r.sum.Entry(e)
}

func (r *reading) see(h *tarstream.Header) {
	if len(h.Name) > maxPath {
		r.add("long-name", Warning, "", "a name has "+count(len(h.Name), "byte")+", which no system opens: "+quote(h.Name[:40])+"…")
		return
	}
	at := place(h.Name)
	r.checkEntry(h, at)
	name, k := kindOf(h, at)
	switch {
	case k == nothing, name == "" && k != opaque: // the root
		return
	case k == hardlink:
		if len(h.Linkname) <= maxPath {
			r.roll.add(k, 0, name, place(h.Linkname))
		}
		return
	}
	size := int64(0)
	if k == file {
		size = h.Size
	}
	r.roll.add(k, size, name, "")
}

func (r *reading) End(rest io.Reader) error {
	r.roll.end()
	if err := r.sum.End(rest); err != nil {
		return err
	}
	r.diffID = r.sum.Digest()
	return nil
}
