package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// usedFor is for how long a blob is kept that is in use and that no image has: a client
// was told that it need not upload it, and is about to push a manifest.
const usedFor = 10 * time.Minute

// keepUsed leases what is in use and nothing holds any more.
func (s *Store) keepUsed(ctx context.Context, m *model, current map[use]bool) error {
	since := s.o.Now().Add(usedFor)
	for _, r := range m.repos {
		needed := map[digest.Digest]bool{}
		for _, root := range r.roots() {
			for d := range r.closure(root) {
				needed[d] = true
			}
		}
		for d := range r.blobs {
			_, leased := r.leased[d]
			if _, manifest := r.manifests[d]; needed[d] || leased || manifest || !current[use{r.place, d}] {
				continue
			}
			if err := s.keep(ctx, r.place, d, since.Add(-s.pending(r.space))); err != nil {
				return fmt.Errorf("keep what is in use: %w", err)
			}
		}
	}
	return nil
}

func (s *Store) keep(ctx context.Context, p place, d digest.Digest, since time.Time) error {
	s.making.RLock()
	defer s.making.RUnlock()
	if _, err := os.Stat(s.files.path(d)); err != nil {
		return nil // it is gone
	}
	s.made(d)
	return s.cache.update(ctx, p.namespace(), func(ctx context.Context, tx *bbolt.Tx) error {
		if err := found(ctx, tx, p); err != nil {
			return err
		}
		if err := s.cache.record(ctx, d, nil); err != nil {
			return err
		}
		return s.lease(ctx, d, since)
	})
}

// forgetPlaces removes the namespaces that have nothing any more, and facts about them
// that are old.
func (s *Store) forgetPlaces(ctx context.Context) error {
	known := map[string]bool{}
	for _, base := range []*base{s.durable, s.cache} {
		if err := base.forgetEmpty(ctx, known); err != nil {
			return fmt.Errorf("forget empty repositories: %w", err)
		}
	}
	limit := s.o.Now().Add(-s.o.Pending)
	return s.cache.update(ctx, "", func(_ context.Context, tx *bbolt.Tx) error {
		all := tx.Bucket(bucketOurs)
		if all == nil {
			return nil
		}
		var gone, left [][]byte
		if err := all.ForEachBucket(func(ns []byte) error {
			young := false
			if err := each(tx, string(ns), bucketFacts, func(_, v []byte) error {
				young = young || unstamp(v).After(limit)
				return nil
			}); err != nil {
				return err
			}
			if !known[string(ns)] && !young {
				gone = append(gone, ns)
			} else {
				left = append(left, ns)
			}
			return nil
		}); err != nil {
			return err
		}
		for _, ns := range gone {
			if err := all.DeleteBucket(ns); err != nil {
				return err
			}
		}
		for _, ns := range left {
			if err := errors.Join(s.trim(tx, string(ns), bucketFacts), s.trim(tx, string(ns), bucketUsed)); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxNotes is how many facts a repository has, and how many of its manifests are known by
// when they were used: those of a build that pushes for years would grow without bound.
const maxNotes = 10_000

// trim removes the oldest notes of a bucket of cache.db that has too many.
func (s *Store) trim(tx *bbolt.Tx, ns string, bucket []byte) error {
	b := ours(tx, ns, bucket)
	if b == nil {
		return nil
	}
	type note struct {
		key []byte
		at  time.Time
	}
	var notes []note
	if err := b.ForEach(func(k, v []byte) error {
		notes = append(notes, note{k, unstamp(v)})
		return nil
	}); err != nil || len(notes) <= s.maxNotes {
		return err
	}
	slices.SortFunc(notes, func(a, b note) int { return a.at.Compare(b.at) })
	for _, n := range notes[:len(notes)-s.maxNotes] {
		if err := b.Delete(bytes.Clone(n.key)); err != nil {
			return err
		}
	}
	return nil
}

// forgetEmpty removes the empty namespaces of a database, and notes the others.
func (b *base) forgetEmpty(ctx context.Context, known map[string]bool) error {
	var empty []string
	if err := b.view(ctx, "", func(ctx context.Context, tx *bbolt.Tx) error {
		all, err := places(ctx, tx)
		for ns := range all {
			if b.empty(tx, ns) {
				empty = append(empty, ns)
			} else {
				known[ns] = true
			}
		}
		return err
	}); err != nil || len(empty) == 0 {
		return err
	}
	return b.update(ctx, "", func(ctx context.Context, tx *bbolt.Tx) error {
		for _, ns := range empty {
			if !b.empty(tx, ns) { // it was, a moment ago
				known[ns] = true
				continue
			}
			if err := metadata.NewNamespaceStore(tx).Delete(ctx, ns); err != nil && !errdefs.IsNotFound(err) {
				if errdefs.IsFailedPrecondition(err) {
					known[ns] = true // containerd has something there
					continue
				}
				return err
			}
		}
		return nil
	})
}

// empty says whether a namespace has neither manifests nor blobs.
func (b *base) empty(tx *bbolt.Tx, ns string) bool {
	n := 0
	eachRecord(tx, ns, func(digest.Digest) { n++ })
	if m := ours(tx, ns, bucketManifests); m != nil {
		if k, _ := m.Cursor().First(); k != nil {
			n++
		}
	}
	return n == 0
}
