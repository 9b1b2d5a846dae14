package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// OpenStream reads a daemon's export, which arrives once. Layers are yielded
// while it still arrives, manifests when it has: what a daemon sends, a manifest
// lists. A stranger's archive may hold blobs that none lists, so its layers wait
// for the manifests (Source). If
// r can be closed, closing the graph closes it and waits for the last Read to
// return; otherwise a Read that blocks is left behind.
func OpenStream(ctx context.Context, r io.Reader, cfg Config, q pipeline.Query) (pipeline.Graph, error) {
	g, err := newStream(ctx, "the archive", r, cfg, q, "")
	if err != nil {
		return nil, err
	}
	g.trusted = true
	return g, nil
}

// streamGraph is the graph of an archive that arrives once. All of it goes into
// one temporary file, which layers are read from while it grows: the reading
// never waits for a layer to be read.
type streamGraph struct {
	what  string
	image string
	// trusted: every blob that looks like a layer is one that a manifest lists.
	trusted bool
	in      io.Reader
	cfg     Config
	q       pipeline.Query
	spool   *spool.File
	arch    *archive
	stop    context.CancelFunc
	stops   context.Context //nolint:containedctx // ends the reading at Close, whoever began it
	done    chan struct{}   // closed when nothing is read any more
	start   sync.Once

	mu     sync.Mutex
	early  []pipeline.Layer // seen before the manifests
	more   chan struct{}    // closed when early grows; nil: nobody waits
	err    error            // how reading ended; valid once done is closed
	inner  pipeline.Graph   // once all is known
	closed bool
}

var _ pipeline.Graph = (*streamGraph)(nil)

func newStream(ctx context.Context, what string, r io.Reader, cfg Config, q pipeline.Query, image string) (*streamGraph, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := spool.New(cfg.TempDir)
	if err != nil {
		return nil, err
	}
	g := &streamGraph{what: what, image: image, in: r, cfg: cfg, q: q, spool: f, done: make(chan struct{})}
	g.stops, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	g.arch = newArchive(what, q.Limits)
	g.arch.section, g.arch.own = f.Section, true
	return g, nil
}

// Layers yields blobs that look like layers as they arrive, with the role
// Unknown, and when the manifests are known the rest. Where the user chose
// images or platforms, nothing is yielded before it is known to be wanted.
func (g *streamGraph) Layers(ctx context.Context) iter.Seq2[pipeline.Layer, error] {
	return func(yield func(pipeline.Layer, error) bool) {
		g.start.Do(func() { go g.read(g.stops) })
		seen := map[digest.Digest]bool{}
		if err := g.yieldEarly(ctx, seen, yield); err != nil {
			if !errors.Is(err, errStopped) {
				yield(pipeline.Layer{}, err)
			}
			return
		}
		inner, err := g.resolve(ctx)
		if err != nil {
			yield(pipeline.Layer{}, err)
			return
		}
		for l, err := range inner.Layers(ctx) {
			if err == nil && seen[l.Blob.Digest] {
				continue
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// errStopped: the consumer of an iterator wants no more.
var errStopped = errors.New("stopped")

// yieldEarly yields what arrives until all has.
func (g *streamGraph) yieldEarly(ctx context.Context, seen map[digest.Digest]bool, yield func(pipeline.Layer, error) bool) error {
	for n := 0; ; {
		g.mu.Lock()
		fresh := g.early[n:len(g.early):len(g.early)]
		if g.more == nil {
			g.more = make(chan struct{})
		}
		more := g.more
		g.mu.Unlock()
		for _, l := range fresh {
			seen[l.Blob.Digest] = true
			if !yield(l, nil) {
				return errStopped
			}
		}
		if n += len(fresh); len(fresh) > 0 {
			continue
		}
		select {
		case <-more:
		case <-g.done:
			g.mu.Lock()
			ended := n == len(g.early)
			g.mu.Unlock()
			if ended {
				return g.err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// announce hands a layer to Layers.
func (g *streamGraph) announce(l pipeline.Layer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.early = append(g.early, l)
	if g.more != nil {
		close(g.more)
		g.more = nil
	}
}

// resolve reads the manifests, once all has arrived.
func (g *streamGraph) resolve(ctx context.Context) (pipeline.Graph, error) {
	if inner := g.resolved(); inner != nil {
		return inner, nil
	}
	inner, err := g.arch.graph(ctx, g.image, g.q, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.what, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inner = inner
	return inner, nil
}

func (g *streamGraph) resolved() pipeline.Graph {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inner
}

// Manifests yields the manifests, after Layers has ended.
func (g *streamGraph) Manifests(ctx context.Context) iter.Seq2[pipeline.Manifest, error] {
	if inner := g.resolved(); inner != nil {
		return inner.Manifests(ctx)
	}
	return func(yield func(pipeline.Manifest, error) bool) {
		yield(pipeline.Manifest{}, fmt.Errorf("%s: its manifests are not known before its layers were listed", g.what))
	}
}

// Close ends the reading and gives the temporary file back.
func (g *streamGraph) Close() error {
	g.mu.Lock()
	closed := g.closed
	g.closed = true
	g.mu.Unlock()
	if closed {
		return nil
	}
	g.stop()
	g.start.Do(func() { close(g.done) }) // never begun
	var err error
	if c, ok := g.in.(io.Closer); ok {
		err = c.Close()
		<-g.done
	}
	return errors.Join(err, g.spool.Close())
}
