package content

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/client"
	storing "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/unpack"
)

// parentLabel is on snapshots, as containerd's own unpacker writes it.
const parentLabel = "containerd.io/snapshot/parent-chain-id"

// unpackAtOnce is how many layers are unpacked at once: as many as are transferred.
const unpackAtOnce = 4

// unpackFor unpacks the image for this machine into the snapshotter.
func (s *sink) unpackFor(ctx context.Context, m pipeline.Manifest, i images.Image) error {
	if !s.unpack || !pipeline.IsIndex(m.Desc.MediaType) && !pipeline.IsImage(m) {
		return nil
	}
	c, err := s.chain(ctx, i)
	if errdefs.IsNotFound(err) {
		s.events.Warn(fmt.Sprintf("%s has no image for this machine (%s): it is not unpacked", i.Name, platforms.DefaultString()))
		return nil
	}
	if err != nil {
		return s.at.explain(ctx, "unpack "+i.Name, err)
	}
	err = c.unpack(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return s.at.explain(ctx, "unpack "+i.Name, err)
	case !errors.Is(err, errNotHere):
		s.events.Detail(fmt.Sprintf("%s: containerd unpacks it by itself: %v", i.Name, err))
	}
	s.filler.close(ctx) // that is space, and what failed for the lack of it may not now
	return s.at.explain(ctx, "unpack "+i.Name, s.letUnpack(ctx, i))
}

// unpackAttempts is how often containerd is asked to unpack an image before
// something is wrong.
const unpackAttempts = 5

// letUnpack lets containerd unpack an image. It builds upon snapshots of other
// images without holding them, so that they vanish under it where somebody removes
// such an image meanwhile; the next attempt finds them gone and makes them.
func (s *sink) letUnpack(ctx context.Context, i images.Image) error {
	image := client.NewImageWithPlatform(s.store.cli, i, s.filler.at.machine)
	var err error
	for range unpackAttempts {
		if err = image.Unpack(s.store.in(ctx), s.filler.at.name); !errdefs.IsNotFound(err) {
			return err
		}
	}
	return err
}

// A chain is the layers of one image, and the snapshots that they become.
type chain struct {
	*filler
	store   *store
	content *content
	config  ocispec.Descriptor
	layers  []link
	first   int // of those that have to be unpacked
}

// A link is one layer upon those below it.
type link struct {
	blob   ocispec.Descriptor
	diffID digest.Digest
	id     digest.Digest // chain ID
	fill   *fill
}

// chain reads which layers the image for this machine has.
func (s *sink) chain(ctx context.Context, i images.Image) (*chain, error) {
	in, blobs := s.store.in(ctx), s.store.blobs()
	m, err := images.Manifest(in, blobs, i.Target, s.filler.at.machine)
	if err != nil {
		return nil, err
	}
	raw, err := storing.ReadBlob(in, blobs, m.Config)
	if err != nil {
		return nil, err
	}
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("read config %s: %w", m.Config.Digest, err)
	}
	ids := config.RootFS.DiffIDs
	if len(ids) != len(m.Layers) {
		return nil, fmt.Errorf("config %s has %d diff IDs for %d layers", m.Config.Digest, len(ids), len(m.Layers))
	}
	c := &chain{filler: s.filler, store: s.store, config: m.Config}
	c.content = &content{store: s.store, files: s.store.files(ctx)}
	for n, id := range identity.ChainIDs(slices.Clone(ids)) {
		c.layers = append(c.layers, link{blob: m.Layers[n], diffID: ids[n], id: id})
	}
	return c, nil
}

// unpack makes the snapshots that are not there. Several layers are unpacked at
// once; what is committed has all that is below it.
func (c *chain) unpack(ctx context.Context) error {
	c.first = len(c.layers)
	for ; c.first > 0; c.first-- {
		if there, err := c.at.has(ctx, c.layers[c.first-1].id); err != nil {
			return err
		} else if there {
			break
		}
	}
	defer c.discard(ctx)
	if err := c.fill(ctx); err != nil {
		return err
	}
	if err := c.upon(ctx); err != nil {
		return err
	}
	if err := c.inherit(ctx); err != nil {
		return err
	}
	for n := c.first; n < len(c.layers); n++ {
		if err := c.commit(ctx, n); err != nil {
			return err
		}
	}
	return c.refer(ctx)
}

// discard removes what was unpacked and not committed.
func (c *chain) discard(ctx context.Context) {
	for _, l := range c.layers {
		if l.fill != nil {
			c.drop(ctx, l.fill)
		}
	}
}

// fill waits for the layers that were unpacked as they came, and unpacks the others.
func (c *chain) fill(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(unpackAtOnce)
	for n := c.first; n < len(c.layers); n++ {
		l := &c.layers[n]
		l.fill = c.take(l.blob.Digest, n == 0)
		group.Go(func() (err error) {
			if l.fill == nil {
				if l.fill, err = c.again(ctx, c.content, l.blob, n == 0); err != nil {
					return err
				}
			}
			return l.fill.wait(ctx)
		})
	}
	return group.Wait()
}

// check compares what was unpacked with what the config says.
func (l *link) check() error {
	if l.fill.err == nil && l.fill.result.DiffID != l.diffID {
		return pipeline.DigestError("diff ID of layer "+l.blob.Digest.String(), l.diffID, l.fill.result.DiffID)
	}
	return l.fill.err
}

// inherit gives directories, for which a layer has no entries, what lower layers
// say: containerd does so too, since it unpacks a layer upon those.
func (c *chain) inherit(ctx context.Context) error {
	var below []*os.File // the topmost first
	defer func() {
		for _, f := range below {
			_ = f.Close() // nothing was written
		}
	}()
	asked := c.first == 0
	for n := c.first; n < len(c.layers); n++ {
		f := c.layers[n].fill
		if f.remote {
			return nil // containerd has done so
		}
		dir, err := os.Open(f.dir)
		if err != nil {
			return err
		}
		if len(f.result.Implied) > 0 {
			if !asked {
				lower, err := c.lowerOpen(ctx)
				if err != nil {
					return errors.Join(err, dir.Close())
				}
				below, asked = append(below, lower...), true
			}
			if err := unpack.Inherit(dir, f.result.Implied, below); err != nil {
				return errors.Join(fmt.Errorf("layer %s: %w", c.layers[n].blob.Digest, err), dir.Close())
			}
		}
		below = slices.Insert(below, 0, dir)
	}
	return nil
}

// lower are the directories of the layers that were there, the topmost first.
func (c *chain) lower(ctx context.Context) (paths []string, err error) {
	key, in := "occystrap-view-"+rand.Text(), c.store.in(ctx)
	mounts, err := c.at.View(in, key, c.layers[c.first-1].id.String())
	if err != nil {
		return nil, c.store.explain(ctx, "look at the layers below", err)
	}
	defer c.at.remove(ctx, key)
	for _, m := range mounts {
		if m.Type == "bind" {
			paths = append(paths, m.Source)
		}
		for _, o := range m.Options {
			if lower, ok := strings.CutPrefix(o, "lowerdir="); ok {
				paths = append(paths, strings.Split(lower, ":")...)
			}
		}
	}
	return paths, nil
}

// lowerOpen opens them.
func (c *chain) lowerOpen(ctx context.Context) (dirs []*os.File, err error) {
	paths, err := c.lower(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		d, err := os.Open(p)
		if err != nil {
			return nil, errors.Join(err, closeAll(dirs))
		}
		dirs = append(dirs, d)
	}
	return dirs, nil
}

func closeAll[C io.Closer](all []C) (err error) {
	for _, c := range all {
		err = errors.Join(err, c.Close())
	}
	return err
}

// commit gives a snapshot its place upon the one below.
func (c *chain) commit(ctx context.Context, n int) error {
	l := &c.layers[n]
	given := snapshots.FilterInheritedLabels(l.blob.Annotations)
	if given == nil {
		given = map[string]string{}
	}
	// An image may not say whose the files are.
	delete(given, snapshots.LabelSnapshotUIDMapping)
	delete(given, snapshots.LabelSnapshotGIDMapping)
	given[snapshots.LabelSnapshotRef], given[snapshots.LabelSnapshotDiffID] = l.id.String(), l.diffID.String()
	opts := []snapshots.Opt{snapshots.WithLabels(given)}
	if n > 0 {
		parent := c.layers[n-1].id.String()
		given[parentLabel] = parent
		opts = append(opts, snapshots.WithParent(parent))
	}
	err := c.at.Commit(c.store.in(ctx), l.id.String(), l.fill.key, opts...)
	if errdefs.IsAlreadyExists(err) { // another program was faster
		if there, err := c.at.has(ctx, l.id); err != nil || !there {
			return errors.Join(err, fmt.Errorf("snapshot %s comes and goes: %w", l.id, errdefs.ErrAborted))
		}
		return nil
	}
	if err != nil {
		return c.store.explain(ctx, "commit snapshot "+l.id.String(), err)
	}
	c.forget(l.fill)
	l.fill = nil
	return nil
}

// refer labels the blobs as containerd's own unpacker does: the config keeps the
// snapshots, and of each layer it is known what it unpacks to.
func (c *chain) refer(ctx context.Context) error {
	if len(c.layers) == 0 {
		return nil
	}
	for n := c.first; n < len(c.layers); n++ {
		if err := c.label(ctx, c.layers[n].blob.Digest, labels.LabelUncompressed, c.layers[n].diffID.String()); err != nil {
			return err
		}
	}
	return c.label(ctx, c.config.Digest, "containerd.io/gc.ref.snapshot."+c.at.name, c.layers[len(c.layers)-1].id.String())
}

// label gives a blob a label that it does not have: to write one takes the disk's
// time.
func (c *chain) label(ctx context.Context, blob digest.Digest, key, value string) error {
	in := c.store.in(ctx)
	info, err := c.store.blobs().Info(in, blob)
	if err == nil && info.Labels[key] != value {
		_, err = c.store.blobs().Update(in, storing.Info{Digest: blob, Labels: map[string]string{key: value}}, "labels."+key)
	}
	return c.store.explain(ctx, "label "+blob.String(), err)
}
