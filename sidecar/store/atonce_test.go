package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// Pushes, pulls, deletions, collections, verification and snapshots at once leave
// nothing that is broken, and a pull of what was just pushed never fails, however full
// the store is.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	s := open(t, t.TempDir(), store.Options{High: 12 * layerSize})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var background errgroup.Group
	for _, do := range []func() error{
		func() error { _, err := s.Collect(ctx); return err },
		func() error { _, err := s.Prune(ctx, 2*layerSize); return err },
		func() error {
			return s.Verify(ctx, func(f store.Fault) { t.Errorf("%s: %s", f.Kind, f.Text) })
		},
		func() error { _, err := s.List(ctx); return errors.Join(err, s.Snapshot()) },
	} {
		background.Go(func() error {
			for ctx.Err() == nil {
				if err := do(); err != nil && ctx.Err() == nil {
					return err
				}
				select { // the others are to be heard as well
				case <-ctx.Done():
				case <-time.After(time.Millisecond):
				}
			}
			return nil
		})
	}
	var g errgroup.Group
	for space, o := range spaces() {
		b := s.Space(space, o).Backend()
		for worker := range 3 {
			g.Go(func() error { return atOnce(ctx, b, []string{"own", "shared", "shared"}[worker], rounds) })
		}
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	cancel()
	if err := background.Wait(); err != nil {
		t.Error(err)
	}
	clean(t, s)
}

// atOnce pushes and pulls. In a repository that others change as well, what was pushed
// may be gone, but nothing else may go wrong.
func atOnce(ctx context.Context, b registry.Backend, repository string, rounds int) error {
	gone := func(err error) bool {
		var unknown *registry.Error
		return repository == "shared" && (errors.Is(err, pipeline.ErrNotFound) || errors.As(err, &unknown) && unknown.Code == registry.ManifestBlobUnknown)
	}
	for range rounds {
		n := rand.IntN(5)
		tag := fmt.Sprint("t", n)
		desc, err := push(ctx, b, repository, tag, nil, []string{tag}, layer("shared"), layer(fmt.Sprint("layer", n)))
		if err == nil {
			err = whole(ctx, b, repository, registry.Ref{Digest: desc.Digest})
		}
		if err == nil && rand.IntN(4) == 0 {
			err = b.Manifests.Delete(ctx, repository, desc.Digest)
		}
		if err != nil && !gone(err) {
			return err
		}
	}
	return nil
}
