package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// A model is the store as it was in one moment, in memory: what collection, lists and
// verification decide by.
type model struct {
	repos []*repo
	sizes map[digest.Digest]int64 // of all that is recorded anywhere
}

// A repo is a namespace of one of the databases.
type repo struct {
	base *base
	place
	ns        string
	tags      map[string]digest.Digest
	manifests map[digest.Digest]entry
	blobs     map[digest.Digest]bool      // all that is recorded, manifests too
	leased    map[digest.Digest]time.Time // since when
	parents   map[digest.Digest]int       // how many manifests name a manifest
	pins      map[string]bool             // tags and digests
	used      map[digest.Digest]time.Time
	about     map[digest.Digest][]digest.Digest // manifests by their subject
	idle      []digest.Digest                   // leases of what an image of the repository keeps anyway
}

// model reads both databases.
func (s *Store) model(ctx context.Context) (*model, error) {
	m := &model{sizes: map[digest.Digest]int64{}}
	pins := map[string]map[string]bool{}
	if err := s.durable.bolt.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketPins); b != nil {
			return b.ForEach(func(k, _ []byte) error {
				ns, ref, _ := strings.Cut(string(k), " ")
				if pins[ns] == nil {
					pins[ns] = map[string]bool{}
				}
				pins[ns][ref] = true
				return nil
			})
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read pins: %w", err)
	}
	for _, base := range []*base{s.durable, s.cache} {
		if err := base.view(ctx, "", func(ctx context.Context, tx *bbolt.Tx) error {
			all, err := places(ctx, tx)
			if err != nil {
				return err
			}
			for _, ns := range slices.Sorted(maps.Keys(all)) {
				r := &repo{base: base, place: all[ns], ns: ns, pins: pins[ns]}
				if err := m.read(within(ctx, tx, ns), tx, r); err != nil {
					return fmt.Errorf("repository %s of space %s: %w", r.repository, r.space, err)
				}
				m.repos = append(m.repos, r)
			}
			return nil
		}); err != nil {
			return nil, fmt.Errorf("read what is in the store: %w", err)
		}
	}
	for _, r := range m.repos {
		r.settle()
	}
	return m, s.readUsed(m)
}

// settle takes apart the leases that keep nothing: those of blobs that came after their
// manifest, as in a sparse space.
func (r *repo) settle() {
	if len(r.leased) == 0 {
		return
	}
	for _, root := range r.roots() {
		for d := range r.closure(root) {
			if _, leased := r.leased[d]; leased {
				delete(r.leased, d)
				r.idle = append(r.idle, d)
			}
		}
	}
}

// read reads one namespace.
func (m *model) read(ctx context.Context, tx *bbolt.Tx, r *repo) error {
	r.tags, r.manifests, r.blobs = map[string]digest.Digest{}, map[digest.Digest]entry{}, map[digest.Digest]bool{}
	r.leased, r.parents, r.about = map[digest.Digest]time.Time{}, map[digest.Digest]int{}, map[digest.Digest][]digest.Digest{}
	if err := r.base.content.Walk(ctx, func(i content.Info) error {
		r.blobs[i.Digest] = true
		m.sizes[i.Digest] = i.Size
		return nil
	}); err != nil {
		return err
	}
	held, err := r.base.leases.List(ctx)
	if err != nil {
		return err
	}
	for _, l := range held {
		r.leased[digest.Digest(l.ID)] = leasedSince(l)
	}
	if err := each(tx, r.ns, bucketTags, func(k, v []byte) error {
		r.tags[string(k)] = digest.Digest(v)
		return nil
	}); err != nil {
		return err
	}
	return each(tx, r.ns, bucketManifests, func(k, v []byte) error {
		var e entry
		if err := json.Unmarshal(v, &e); err != nil {
			return fmt.Errorf("read what is known of manifest %s: %w", k, err)
		}
		r.manifests[digest.Digest(k)] = e
		if e.Subject != "" {
			r.about[e.Subject] = append(r.about[e.Subject], digest.Digest(k))
		}
		for _, p := range e.Parts {
			if p.Manifest {
				r.parents[p.Digest]++
			}
		}
		return nil
	})
}

func leasedSince(l leases.Lease) time.Time {
	var seconds int64
	if _, err := fmt.Sscan(l.Labels[labelSince], &seconds); err != nil {
		return l.CreatedAt
	}
	return time.Unix(seconds, 0)
}

// each calls fn for all keys of a bucket of ours.
func each(tx *bbolt.Tx, ns string, bucket []byte, fn func(k, v []byte) error) error {
	b := ours(tx, ns, bucket)
	if b == nil {
		return nil
	}
	return b.ForEach(fn)
}

// readUsed reads when manifests were used: what was written down, and what was not yet.
func (s *Store) readUsed(m *model) error {
	return s.cache.bolt.View(func(tx *bbolt.Tx) error {
		for _, r := range m.repos {
			r.used = map[digest.Digest]time.Time{}
			for d, e := range r.manifests {
				r.used[d] = e.Put
			}
			if err := each(tx, r.ns, bucketUsed, func(k, v []byte) error {
				if d := digest.Digest(k); unstamp(v).After(r.used[d]) {
					r.used[d] = unstamp(v)
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// roots are the manifests that stand for images: those that no other names, and those
// with a tag. What refers to one that is there goes with it.
func (r *repo) roots() []digest.Digest {
	tagged := map[digest.Digest]bool{}
	for _, d := range r.tags {
		tagged[d] = true
	}
	var list []digest.Digest
	for d, e := range r.manifests {
		_, subject := r.manifests[e.Subject]
		if tagged[d] || r.parents[d] == 0 && !subject {
			list = append(list, d)
		}
	}
	slices.Sort(list)
	return list
}

// closure is all that belongs to a root: manifests and blobs, and what refers to them.
func (r *repo) closure(root digest.Digest) map[digest.Digest]bool {
	seen := map[digest.Digest]bool{}
	var visit func(d digest.Digest)
	visit = func(d digest.Digest) {
		if seen[d] || !r.blobs[d] {
			return
		}
		seen[d] = true
		for _, p := range r.manifests[d].Parts {
			visit(p.Digest)
		}
		for _, a := range r.about[d] {
			visit(a)
		}
	}
	visit(root)
	return seen
}
