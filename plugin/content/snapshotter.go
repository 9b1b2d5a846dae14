package content

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	apitypes "github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// overlayfs is the snapshotter whose directories we know how to fill.
const overlayfs = "overlayfs"

// A snapshotter is where images are unpacked.
type snapshotter struct {
	snapshots.Snapshotter
	store *store
	name  string
	// machine chooses among the images of an index what it can run.
	machine platforms.MatchComparer
	// rebase: layers may be unpacked without the ones below, in any order, and get
	// their parents when they are committed.
	rebase bool

	proof  sync.Once
	hidden atomic.Bool // its directories are not those that we see
}

// snapshotter finds the one of that name, or the namespace's own.
func (s *store) snapshotter(ctx context.Context, name string) (*snapshotter, error) {
	if name == "" {
		var err error
		name, err = s.cli.GetLabel(s.in(ctx), defaults.DefaultSnapshotterNSLabel)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, s.explain(ctx, "ask for the namespace's snapshotter", err)
		}
		if name == "" {
			name = defaults.DefaultSnapshotter
		}
	}
	found, err := s.cli.IntrospectionService().Plugins(s.in(ctx), "type=="+string(plugins.SnapshotPlugin))
	if err != nil {
		return nil, s.explain(ctx, "ask for snapshotters", err)
	}
	var have []string
	for _, p := range found.GetPlugins() {
		if p.GetInitErr() != nil {
			continue
		}
		if p.GetID() == name {
			return &snapshotter{
				Snapshotter: s.cli.SnapshotService(name), store: s, name: name,
				machine: runs(p.GetPlatforms()), rebase: slices.Contains(p.GetCapabilities(), snapshots.RebaseCap),
			}, nil
		}
		have = append(have, p.GetID())
	}
	slices.Sort(have)
	return nil, fmt.Errorf("containerd at %s has no snapshotter %s that works; it has %s: choose one with ?snapshotter=: %w",
		s.socket, name, strings.Join(have, ", "), errdefs.ErrNotFound)
}

// runs is what a snapshotter says that it can run; this machine's platform where
// it says nothing.
func runs(said []*apitypes.Platform) platforms.MatchComparer {
	var all []ocispec.Platform
	for _, p := range said {
		all = append(all, platforms.Normalize(ocispec.Platform{OS: p.GetOS(), Architecture: p.GetArchitecture(), Variant: p.GetVariant(), OSVersion: p.GetOsVersion()}))
	}
	switch len(all) {
	case 0:
		return platforms.Default()
	case 1:
		return platforms.Only(all[0]) // older variants, too
	}
	return platforms.Ordered(all...)
}

// has says whether a chain of layers is unpacked, and keeps it if so.
func (s *snapshotter) has(ctx context.Context, chain digest.Digest) (bool, error) {
	err := s.store.cli.LeasesService().AddResource(s.store.in(ctx), s.store.lease, leases.Resource{ID: chain.String(), Type: "snapshots/" + s.name})
	if err == nil || errdefs.IsNotFound(err) {
		_, err = s.Stat(s.store.in(ctx), chain.String())
	}
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, s.store.explain(ctx, "look for snapshot "+chain.String(), err)
}

// rebases says whether snapshots can be filled in any order, and how is known.
func (s *snapshotter) rebases() bool { return s.name == overlayfs && s.rebase }

// ours says whether this process may be able to fill them.
func (s *snapshotter) ours() bool { return os.Geteuid() == 0 && !s.hidden.Load() }

// directory is where a snapshot without parents is; "" where it is no directory, or
// not to be written to.
func directory(mounts []mount.Mount) string {
	if len(mounts) != 1 || mounts[0].Type != "bind" || mounts[0].ReadOnly() || !filepath.IsAbs(mounts[0].Source) {
		return ""
	}
	return mounts[0].Source
}

// proven says whether a directory of a new snapshot is the one that containerd
// means: it may live in another root or machine, where the path leads to something
// else. So we put files into it, and ask containerd how many there are.
func (s *snapshotter) proven(ctx context.Context, key, dir string) bool {
	s.proof.Do(func() { s.hidden.Store(s.prove(ctx, key, dir) != nil) })
	return !s.hidden.Load()
}

func (s *snapshotter) prove(ctx context.Context, key, dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if names, err := fs.ReadDir(root.FS(), "."); err != nil || len(names) > 0 {
		return errors.Join(err, fmt.Errorf("%s is not empty", dir))
	}
	const most = 40
	some, err := rand.Int(rand.Reader, big.NewInt(most))
	if err != nil {
		return err
	}
	files := 1 + int(some.Int64())
	for range files {
		name := ".occystrap-" + rand.Text()
		if err := root.WriteFile(name, nil, 0o600); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, root.Remove(name)) }()
	}
	usage, err := s.Usage(s.store.in(ctx), key)
	if err == nil && usage.Inodes != int64(files)+1 {
		err = fmt.Errorf("containerd counts %d files in %s, and there are %d", usage.Inodes, dir, files+1)
	}
	return err
}

// remove removes a snapshot that was not committed; what cannot be removed now goes
// with the lease.
func (s *snapshotter) remove(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	_ = s.Remove(s.store.in(ctx), key)
}
