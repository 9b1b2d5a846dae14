package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

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
	*pipeline.Arriving
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
	closed bool
}

var (
	_ pipeline.Graph    = (*streamGraph)(nil)
	_ pipeline.DiskUser = (*streamGraph)(nil)
)

func newStream(ctx context.Context, what string, r io.Reader, cfg Config, q pipeline.Query, image string) (*streamGraph, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := spool.New(cfg.TempDir)
	if err != nil {
		return nil, err
	}
	g := &streamGraph{what: what, image: image, in: r, cfg: cfg, q: q, spool: f, done: make(chan struct{})}
	g.Arriving = pipeline.NewArriving(g.resolve)
	g.stops, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	g.arch = newArchive(what, q.Limits)
	g.arch.section, g.arch.own = f.Section, true
	return g, nil
}

// Layers yields blobs that look like layers as they arrive, with the role
// Unknown, and when the manifests are known the rest. Where the user chose
// images or platforms, nothing is yielded before it is known to be wanted.
func (g *streamGraph) Layers(ctx context.Context) iter.Seq2[pipeline.Layer, error] {
	g.start.Do(func() { go g.read(g.stops) })
	return g.Arriving.Layers(ctx)
}

// resolve reads the manifests, once all has arrived.
func (g *streamGraph) resolve(ctx context.Context) (pipeline.Graph, error) {
	inner, err := g.arch.graph(ctx, g.image, g.q, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.what, err)
	}
	return inner, nil
}

// PeakDisk is all of the archive that has come.
func (g *streamGraph) PeakDisk() int64 { return g.spool.Size() }

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
	return errors.Join(err, g.Arriving.Close(), g.spool.Close())
}
