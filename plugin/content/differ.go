package content

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/unpack"
)

// Where only containerd may write into its snapshots, its differ unpacks them:
// several layers at once, and while others still arrive. It gives directories, for
// which a layer has no entries, what lower layers say only if those are there; so
// that a layer has such directories is found out while it passes.

// errUpon: the layer has to be unpacked upon those below it.
var errUpon = errors.New("it has no entries for some of its directories")

// look finds out whether a layer can be unpacked by itself. It reads to the end.
func (f *filler) look(ctx context.Context, s *fill, stored io.Reader) {
	defer close(s.looked)
	whole, err := unpack.Whole(ctx, stored, f.limits)
	s.whole = err == nil && whole
	_, _ = io.Copy(io.Discard, stored) // whoever writes it, says what is wrong
}

// applies lets containerd unpack a layer that it has got.
func (f *filler) applies(s *fill, blob ocispec.Descriptor) {
	go func() {
		defer close(s.done)
		<-s.looked
		if !s.whole && !s.lowest {
			s.err = errUpon
			return
		}
		select {
		case f.turns <- struct{}{}:
			defer func() { <-f.turns }()
			s.err = f.apply(f.life, s, blob, nil)
		case <-f.life.Done():
			s.err = context.Cause(f.life)
		}
	}()
}

// apply lets containerd unpack a layer, upon directories of lower ones, the topmost
// first.
func (f *filler) apply(ctx context.Context, s *fill, blob ocispec.Descriptor, lowers []string) error {
	mounts := []mount.Mount{{Type: "bind", Source: s.dir, Options: []string{"rw", "rbind"}}}
	if !s.lowest {
		// For its differ to make whiteouts, containerd has to see an overlay: of it,
		// it takes no more than the directories.
		options := []string{"upperdir=" + s.dir}
		if len(lowers) > 0 {
			options = append(options, "lowerdir="+strings.Join(lowers, ":"))
		}
		mounts = []mount.Mount{{Type: "overlay", Source: "overlay", Options: options}}
	}
	got, err := f.at.store.cli.DiffService().Apply(f.at.store.in(ctx), blob, mounts)
	if err != nil {
		return f.at.store.explain(ctx, "unpack layer "+blob.Digest.String(), err)
	}
	s.result = unpack.Result{DiffID: got.Digest}
	return nil
}

// upon unpacks, in their order, the layers that need those below them.
func (c *chain) upon(ctx context.Context) error {
	var below []string // the topmost first
	asked := c.first == 0
	for n := c.first; n < len(c.layers); n++ {
		l := &c.layers[n]
		if errors.Is(l.fill.err, errUpon) {
			if !asked {
				lower, err := c.lower(ctx)
				if err != nil {
					return err
				}
				below, asked = append(below, lower...), true
			}
			if l.fill.err = c.apply(ctx, l.fill, l.blob, below); l.fill.err != nil {
				return l.fill.err
			}
		}
		if err := l.check(); err != nil {
			return err
		}
		below = append([]string{l.fill.dir}, below...)
	}
	return nil
}
