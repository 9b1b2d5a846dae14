package check

import (
	"context"
	"errors"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
)

// Options say what Run looks at.
type Options struct {
	// Fast reads no layer.
	Fast bool
	// MaxSize is the most bytes that an image may have as stored; 0 is no limit.
	MaxSize int64
	// MaxWaste is what may be wasted.
	MaxWaste Limit
	// Pipeline says how layers are read, and which images are meant.
	Pipeline pipeline.Options
}

// A Limit is a number of bytes, or a part of the whole; the zero value is none.
type Limit struct {
	Set     bool
	Bytes   int64
	Percent float64 // of all bytes of files; Bytes is 0
	ByParts bool    // Percent counts
}

// checker is one Run. As a filter it looks at layers; what it finds is told in
// the order of the images when all have been read.
type checker struct {
	opts Options
	tell *teller
	room room

	mu       sync.Mutex
	faults   []pipeline.Fault
	images   []pipeline.ImageLayers
	attempts map[pipeline.LayerID]*layer // what the latest handler saw
	layers   map[pipeline.LayerID]*layer
	finished bool
}

// Run checks all images that src names. An error means that they could not be
// judged; what is wrong with them is in the report.
func Run(ctx context.Context, src pipeline.Source, opts Options) (*Report, error) {
	report := &Report{Fast: opts.Fast}
	c := &checker{
		opts: opts, tell: &teller{report: report},
		attempts: map[pipeline.LayerID]*layer{}, layers: map[pipeline.LayerID]*layer{},
	}
	c.opts.Pipeline.Faults = func(f pipeline.Fault) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.faults = append(c.faults, f)
	}
	err := c.run(ctx, src)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case c.finished: // layers that could not be read are in the report
		return report, nil
	case errors.Is(err, pipeline.ErrDigest):
		c.tellFaults(nil)
		c.tell.bad("manifest-digest", "%s", pipeline.OneLine(err.Error()))
		return report, nil
	}
	return report, err
}

func (c *checker) run(ctx context.Context, src pipeline.Source) error {
	if !c.opts.Fast {
		return pipeline.Look(ctx, src, []pipeline.Filter{c}, c.opts.Pipeline)
	}
	manifests, err := pipeline.ReadManifests(ctx, src, c.opts.Pipeline.Query)
	if err != nil {
		return err
	}
	return c.Finish(ctx, manifests)
}

// Finish judges the images, once all layers have been read.
func (c *checker) Finish(_ context.Context, manifests []pipeline.Manifest) error {
	c.tell.report.Manifests = manifests
	images, indexes := parse(manifests)
	c.tellFaults(images)
	for _, x := range indexes {
		c.tell.begin(nil)
		x.judge(c.tell)
	}
	for _, i := range images {
		c.tell.begin(&i.Image)
		i.judge(c.tell, c.opts)
		if !c.opts.Fast {
			c.judgeLayers(i)
		}
		c.tell.report.Images = append(c.tell.report.Images, &i.Image)
	}
	c.tell.begin(nil)
	if len(images) == 0 && len(c.faults) == 0 {
		c.tell.bad("metadata", "there is no image: neither a manifest nor a config")
	}
	c.finished = true
	return nil
}

// tellFaults tells what was wrong with manifests and configs, of their image
// where it is known.
func (c *checker) tellFaults(images []*image) {
	for _, f := range c.faults {
		c.tell.begin(nil)
		for _, i := range images {
			if i.Manifest.Digest == f.Manifest {
				c.tell.begin(&i.Image)
				i.faults[string(f.Kind)] = true
			}
		}
		c.tell.bad(string(f.Kind), "%s", pipeline.OneLine(f.Err.Error()))
	}
}

// begin starts on an image; nil is none.
func (t *teller) begin(i *Image) { t.image, t.perFile = i, map[string]int{} }
