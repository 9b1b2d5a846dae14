package compare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
)

// An Input is where an image comes from.
type Input struct {
	Source pipeline.Source
	// Name is what errors call it; "" for nothing.
	Name string
	// Once: the source can be opened only once, as standard input can.
	Once bool
	// Far: what is read from it travels; a layer that both images have is then read
	// from the other.
	Far bool
}

// errMoved: between two looks at a source it came to hold another image.
var errMoved = errors.New("the image was replaced while it was read; try again")

func (i Input) named(err error) error {
	if i.Name == "" {
		return err
	}
	return fmt.Errorf("%s: %w", i.Name, err)
}

// Options say what counts.
type Options struct {
	// IgnoreTimes leaves out when files, the image and its layers were made.
	IgnoreTimes bool
	// Match says which paths are compared; nil is all. They have no leading slash.
	Match func(path string) bool
	// TempDir is where the temporary file is; "" is the system's.
	TempDir string
	// Pipeline says how layers are read, and which images are meant.
	Pipeline pipeline.Options
}

// A Comparison is what Run found. Files yields the files.
type Comparison struct {
	A, B *Image
	// Identical: both have one manifest. SameConfig: both have one config, and so the
	// same files. Neither is known of each image of a daemon.
	Identical, SameConfig bool
	// Config are differences of the configs and annotations, by name.
	Config []Difference
	// History is how the histories differ; nil if they do not.
	History *History
	Summary Summary

	opts   Options
	mu     sync.Mutex
	shelf  *shelf
	shared int // layers at the bottom that both have
	runs   map[digest.Digest][]run
	links  bool // some hard links lead into other layers
}

// Equal says whether nothing that counts is different: no file, and nothing in
// config, history and annotations. How layers are stored does not count.
func (c *Comparison) Equal() bool {
	return len(c.Config) == 0 && c.History == nil && c.Summary.Added+c.Summary.Removed+c.Summary.Changed == 0
}

// Close gives back the temporary file.
func (c *Comparison) Close() error {
	if c.shelf == nil {
		return nil
	}
	return c.shelf.file.Close()
}

// Run compares two images, a against b. The caller closes the result.
func Run(ctx context.Context, a, b Input, opts Options) (*Comparison, error) {
	c := &Comparison{opts: opts, runs: map[digest.Digest][]run{}}
	if err := c.run(ctx, a, b); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Comparison) run(ctx context.Context, a, b Input) error {
	if err := c.know(ctx, a, b); err != nil {
		return err
	}
	if !sameLayers(c.A, c.B) {
		if err := c.read(ctx, a, b); err != nil {
			return err
		}
	}
	c.Identical = c.A.Manifest.Digest != "" && c.A.Manifest.Digest == c.B.Manifest.Digest
	c.SameConfig = c.Identical || c.A.Config.Digest != "" && c.A.Config.Digest == c.B.Config.Digest
	c.Config = configDifferences(c.A, c.B, c.opts.IgnoreTimes)
	c.History = historyDifference(c.A, c.B, c.opts.IgnoreTimes)
	c.mark()
	return c.count(ctx)
}

// know reads the manifests and configs of both. A source that can be read only
// once is read whole.
func (c *Comparison) know(ctx context.Context, a, b Input) error {
	for _, side := range []struct {
		in  Input
		out **Image
	}{{a, &c.A}, {b, &c.B}} {
		if side.in.Once {
			if err := c.look(ctx, side.in, side.out, nil); err != nil {
				return err
			}
			continue
		}
		manifests, err := pipeline.ReadManifests(ctx, side.in.Source, c.opts.Pipeline.Query)
		if err != nil {
			return side.in.named(err)
		}
		if *side.out, err = newImage(manifests); err != nil {
			return side.in.named(err)
		}
	}
	c.shared = sharedLayers(c.A, c.B)
	return nil
}

// read reads the layers that differ, and those that both have as far as it takes.
func (c *Comparison) read(ctx context.Context, a, b Input) error {
	wantA, wantB := c.A.diffIDs(c.shared), c.B.diffIDs(c.shared)
	other := wantB
	if a.Far && !b.Far {
		other = wantA
	}
	for d := range wantA {
		if wantB[d] {
			delete(other, d)
		}
	}
	c.opts.Pipeline.Parallel = max(1, (c.opts.Pipeline.Parallel+1)/2) // each side has its share
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.lookFor(gctx, a, &c.A, wantA) })
	group.Go(func() error { return c.lookFor(gctx, b, &c.B, wantB) })
	if err := group.Wait(); err != nil {
		return err
	}
	c.place(c.shared)
	need, err := c.needsShared(ctx)
	if err == nil && !need {
		need, err = c.linkDown(ctx)
	}
	if err != nil || !need || c.shared == 0 {
		return err
	}
	in, out := a, &c.A
	if a.Far && !b.Far || a.Once {
		in, out = b, &c.B
	}
	shared := map[digest.Digest]bool{}
	for _, l := range c.A.Layers[:c.shared] {
		shared[l.DiffID] = true
	}
	if err := c.lookFor(ctx, in, out, shared); err != nil {
		return err
	}
	c.place(0)
	_, err = c.linkDown(ctx)
	return err
}

// lookFor reads those of the layers that have not been read.
func (c *Comparison) lookFor(ctx context.Context, in Input, out **Image, want map[digest.Digest]bool) error {
	want = maps.Clone(want)
	c.lock(func() {
		for d := range c.runs {
			delete(want, d)
		}
	})
	if len(want) == 0 || in.Once {
		return nil
	}
	return c.look(ctx, in, out, want)
}

// look reads layers; nil wants all.
func (c *Comparison) look(ctx context.Context, in Input, out **Image, want map[digest.Digest]bool) error {
	if err := c.openShelf(); err != nil {
		return err
	}
	r := newReader(c.shelf, want)
	if err := pipeline.Look(ctx, in.Source, []pipeline.Filter{r}, c.opts.Pipeline); err != nil {
		return in.named(err)
	}
	i, err := newImage(r.manifests)
	if err != nil {
		return in.named(err)
	}
	if before := *out; before != nil && (!before.bare && before.Manifest.Digest != i.Manifest.Digest || !sameLayers(before, i)) {
		return in.named(errMoved)
	}
	*out = i
	c.lock(func() { c.take(r, i) })
	return nil
}
