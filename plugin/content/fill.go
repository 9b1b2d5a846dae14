package content

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/unpack"
)

// A fill is a snapshot that one layer is unpacked into, without those below it and
// before anybody can see it.
type fill struct {
	key string
	// lowest: nothing is below, so whiteouts hide nothing.
	lowest bool
	dir    string // where it is, for containerd
	// remote: containerd fills it. Then looked is closed when it is known whether the
	// layer is whole.
	remote, whole bool
	looked        chan struct{}

	done   chan struct{} // closed when the layer is unpacked, or cannot be
	result unpack.Result
	err    error
}

// wait returns when the layer is unpacked, or it is known why not.
func (f *fill) wait(ctx context.Context) error {
	select {
	case <-f.done:
		if errors.Is(f.err, errUpon) {
			return nil // when the others are there
		}
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A filler fills snapshots while layers arrive.
type filler struct {
	at     *snapshotter
	limits pipeline.Limits
	// life is that of the sink: containerd unpacks layers beyond the end of their
	// own transfers.
	life  context.Context //nolint:containedctx // see there
	end   context.CancelFunc
	turns chan struct{} // how many layers containerd unpacks at once

	mu   sync.Mutex
	have map[digest.Digest]*fill // by the blob, for Publish
	all  map[string]*fill        // that are neither committed nor removed
}

func newFiller(ctx context.Context, at *snapshotter, limits pipeline.Limits) *filler {
	f := &filler{at: at, limits: limits, turns: make(chan struct{}, unpackAtOnce), have: map[digest.Digest]*fill{}, all: map[string]*fill{}}
	f.life, f.end = context.WithCancel(context.WithoutCancel(ctx))
	return f
}

// wants says whether a layer that is about to arrive will be a snapshot: it belongs
// to an image that is going to be unpacked, and is not yet.
func (f *filler) wants(ctx context.Context, l pipeline.Layer) bool {
	if !f.at.rebases() || l.Role != pipeline.FileSystem || l.Foreign != "" || l.Platform == nil || !f.at.machine.Match(*l.Platform) {
		return false
	}
	chain := make([]digest.Digest, 0, len(l.Parents)+1)
	for _, p := range append(l.Parents[:len(l.Parents):len(l.Parents)], l) {
		if p.DiffID == "" {
			return false
		}
		chain = append(chain, p.DiffID)
	}
	there, err := f.at.has(ctx, identity.ChainID(chain))
	return err == nil && !there
}

// prepare makes an empty snapshot to fill. It is errNotHere where the snapshotter is
// none of those that we know.
func (f *filler) prepare(ctx context.Context, lowest bool) (_ *fill, err error) {
	if !f.at.rebases() {
		return nil, errNotHere
	}
	s := &fill{key: fmt.Sprintf(snapshots.UnpackKeyFormat, "occystrap", rand.Text()), lowest: lowest, done: make(chan struct{}), looked: make(chan struct{})}
	mounts, err := f.at.Prepare(f.at.store.in(ctx), s.key, "")
	if err != nil {
		return nil, f.at.store.explain(ctx, "prepare a snapshot", err)
	}
	if s.dir = directory(mounts); s.dir == "" {
		f.at.remove(ctx, s.key)
		return nil, errNotHere
	}
	s.remote = !f.at.ours() || !f.at.proven(ctx, s.key, s.dir)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[s.key] = s
	return s, nil
}

// errNotHere: layers are unpacked one upon the other, and by containerd.
var errNotHere = errors.New("its snapshots cannot be filled in any order")

// from unpacks a layer into the snapshot. It reads to the end.
func (f *filler) from(ctx context.Context, s *fill, stored io.Reader) {
	defer close(s.done)
	s.err = func() error {
		dir, err := os.Open(s.dir)
		if err != nil {
			return err
		}
		defer dir.Close()
		if s.result, err = unpack.Layer(ctx, dir, stored, unpack.Options{Limits: f.limits, Lowest: s.lowest}); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, stored)
		return err
	}()
}

// keep remembers what a blob was unpacked into.
func (f *filler) keep(ctx context.Context, blob digest.Digest, s *fill) {
	f.mu.Lock()
	was := f.have[blob]
	f.have[blob] = s
	f.mu.Unlock()
	if was != nil {
		f.drop(ctx, was)
	}
}

// take gives out the snapshot of a blob, once; nil where there is none as wanted.
func (f *filler) take(blob digest.Digest, lowest bool) *fill {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.have[blob]
	if s == nil || s.lowest != lowest {
		return nil
	}
	delete(f.have, blob)
	return s
}

// drop removes a snapshot that was not committed, once nobody fills it any more.
func (f *filler) drop(ctx context.Context, s *fill) {
	<-s.done // if need be, by way of close
	f.at.remove(ctx, s.key)
	f.forget(s)
}

// forget leaves a snapshot to containerd: it is committed.
func (f *filler) forget(s *fill) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, s.key)
}

// close removes what was not committed.
func (f *filler) close(ctx context.Context) {
	f.end()
	f.mu.Lock()
	clear(f.have)
	left := make([]*fill, 0, len(f.all))
	for _, s := range f.all {
		left = append(left, s)
	}
	f.mu.Unlock()
	for _, s := range left {
		f.drop(ctx, s)
	}
}

// again unpacks a layer that containerd has the blob of.
func (f *filler) again(ctx context.Context, c *content, blob ocispec.Descriptor, lowest bool) (*fill, error) {
	s, err := f.prepare(ctx, lowest)
	if err != nil {
		return nil, err
	}
	if s.remote {
		s.err = errUpon // to find out more would mean to read it
		close(s.done)
		return s, nil
	}
	rc, err := c.Open(ctx, blob)
	if err != nil {
		close(s.done)
		f.drop(ctx, s)
		return nil, err
	}
	defer rc.Close()
	f.from(ctx, s, rc)
	return s, nil
}
