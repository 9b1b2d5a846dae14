package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	durableName  = "meta.db"
	cacheName    = "cache.db"
	snapshotName = "cache.snap"

	// lockWait is how long another process may take to let go of the store, as one that
	// is about to end.
	lockWait = 2 * time.Second

	// Labels of a namespace: what place it is.
	labelSpace      = "occystrap/space"
	labelRepository = "occystrap/repository"
)

// A base is containerd's metadata in one file, with buckets of ours beside it
// (schema.go), so that a transaction covers both.
type base struct {
	bolt    *bbolt.DB
	meta    *metadata.DB
	content content.Store
	leases  leases.Manager
}

// openBase opens or makes a database. One that is not synced is safe from a killed
// process (the kernel has the pages), not from a power failure.
func openBase(ctx context.Context, path string, f *files, synced bool) (*base, error) {
	// Freed pages are found again when it is opened, rather than written each time.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockWait, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoSync: !synced, NoGrowSync: !synced,
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("open %s: %w; end it, or ask it with \"occystrap store\"", path, ErrLocked)
	case err != nil:
		return nil, fmt.Errorf("open %s, which may be damaged: %w", path, full(err))
	}
	b := &base{bolt: db, meta: metadata.NewDB(db, f, nil)}
	b.content, b.leases = b.meta.ContentStore(), metadata.NewLeaseManager(b.meta)
	if err := b.meta.Init(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, full(err)), db.Close())
	}
	return b, nil
}

func (b *base) close() error { return b.meta.Close() }

// view reads in one transaction.
func (b *base) view(ctx context.Context, ns string, read func(ctx context.Context, tx *bbolt.Tx) error) error {
	return b.bolt.View(func(tx *bbolt.Tx) error { return read(within(ctx, tx, ns), tx) })
}

// update writes in one transaction, not while garbage is collected.
func (b *base) update(ctx context.Context, ns string, write func(ctx context.Context, tx *bbolt.Tx) error) error {
	return full(b.meta.Update(func(tx *bbolt.Tx) error { return write(within(ctx, tx, ns), tx) }))
}

// within has containerd's functions work in a transaction and a namespace.
func within(ctx context.Context, tx *bbolt.Tx, ns string) context.Context {
	return boltutil.WithTransaction(namespaces.WithNamespace(ctx, ns), tx)
}

// found makes a namespace known.
func found(ctx context.Context, tx *bbolt.Tx, p place) error {
	err := metadata.NewNamespaceStore(tx).Create(ctx, p.namespace(), map[string]string{labelSpace: p.space, labelRepository: p.repository})
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// places are all namespaces of a database.
func places(ctx context.Context, tx *bbolt.Tx) (map[string]place, error) {
	store := metadata.NewNamespaceStore(tx)
	names, err := store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	all := make(map[string]place, len(names))
	for _, ns := range names {
		labels, err := store.Labels(ctx, ns)
		if err != nil {
			return nil, fmt.Errorf("read namespace %s: %w", ns, err)
		}
		all[ns] = place{labels[labelSpace], labels[labelRepository]}
	}
	return all, nil
}

// exists says whether a database knows a place.
func exists(ctx context.Context, tx *bbolt.Tx, ns string) bool {
	labels, err := metadata.NewNamespaceStore(tx).Labels(ctx, ns)
	return err == nil && len(labels) > 0
}

// remove deletes a file that may not be there.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
