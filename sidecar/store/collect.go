package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// Collected is what a collection removed.
type Collected struct {
	// Images is how many images went, and Uploads how many that were abandoned.
	Images, Uploads int
	// Bytes is how much less there is on disk.
	Bytes int64
}

// Collect removes what is too old, and past the high mark what was not used for
// longest, and then all that nothing names any more. It runs by itself as well. What
// goes on meanwhile is not disturbed.
func (s *Store) Collect(ctx context.Context) (Collected, error) {
	if s.o.High <= 0 {
		return s.collect(ctx, unbounded, unbounded)
	}
	return s.collect(ctx, s.o.High, s.o.Low)
}

// unbounded is a mark that is never passed.
const unbounded = math.MaxInt64

// Prune removes images until the store has at most so many bytes, as if it had passed its
// high mark; 0 removes all that is not pinned or in use.
func (s *Store) Prune(ctx context.Context, low int64) (Collected, error) {
	return s.collect(ctx, max(low, 0), max(low, 0))
}

func (s *Store) collect(ctx context.Context, high, low int64) (c Collected, err error) {
	if err := s.wait(ctx); err != nil {
		return c, err
	}
	s.collecting.Lock()
	defer s.collecting.Unlock()
	err = s.withReserve(func() error {
		more, err := s.collectOnce(ctx, high, low)
		c.Images, c.Uploads, c.Bytes = c.Images+more.Images, c.Uploads+more.Uploads, c.Bytes+more.Bytes
		return err
	})
	return c, err
}

func (s *Store) collectOnce(ctx context.Context, high, low int64) (c Collected, err error) {
	if err := s.flush(ctx); err != nil {
		return c, err
	}
	arriving, gone, err := s.uploads.abandoned(s.o.Now(), s.o.Pending)
	if err != nil {
		return c, fmt.Errorf("give up uploads: %w", err)
	}
	c.Uploads = gone
	m, err := s.model(ctx)
	if err != nil {
		return c, err
	}
	v := s.choose(m, arriving, high, low)
	if c.Images, err = s.drop(ctx, v); err != nil {
		return c, err
	}
	if err := s.garbage(ctx, m, c.Images > 0); err != nil {
		return c, err
	}
	c.Bytes, err = s.sweep(ctx)
	s.rearm()
	return c, err
}

// An image is a root with what belongs to it.
type image struct {
	r       *repo
	root    digest.Digest
	all     map[digest.Digest]bool
	used    time.Time
	pinned  bool
	needed  bool // pinned, or in use
	dropped bool
}

// images are those of a model, the longest unused first.
func (m *model) images(current map[use]bool) []*image {
	var list []*image
	for _, r := range m.repos {
		for _, root := range r.roots() {
			i := &image{r: r, root: root, all: r.closure(root), pinned: r.pinned(root)}
			for d := range i.all {
				if r.used[d].After(i.used) {
					i.used = r.used[d]
				}
				_, inUse := current[use{r.place, d}]
				i.needed = i.needed || inUse
				i.pinned = i.pinned || r.pins[d.String()]
			}
			i.needed = i.needed || i.pinned
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b *image) int { return a.used.Compare(b.used) })
	return list
}

// pinned says whether a manifest is, by a tag or its digest.
func (r *repo) pinned(d digest.Digest) bool {
	for ref := range r.pins {
		if ref == d.String() || r.tags[ref] == d {
			return true
		}
	}
	return false
}

// choose chooses what is to go: images that are too old, and then more until the bytes
// that are left are at most low, if they are more than high.
func (s *Store) choose(m *model, arriving, high, low int64) []*image {
	list := m.images(s.uses.current())
	b := m.balance(list)
	b.total += arriving
	now := s.o.Now()
	var victims []*image
	drop := func(i *image) {
		if i.dropped = true; i.r.blobs[i.root] {
			victims = append(victims, i)
		}
		b.drop(i)
	}
	for _, i := range list {
		if age := s.age(i.r.space); age > 0 && !i.needed && now.Sub(i.used) >= age {
			drop(i)
		}
	}
	if b.total <= high {
		return victims
	}
	for _, i := range list {
		if b.total <= low {
			break
		}
		if !i.needed && !i.dropped {
			drop(i)
		}
	}
	return victims
}

// age is for how long images of a space are kept unused.
func (s *Store) age(space string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp := s.spaces[space]; sp != nil && sp.o.Age > 0 {
		return sp.o.Age
	}
	return s.o.Age
}

// pending is for how long blobs without a manifest are kept.
func (s *Store) pending(space string) time.Duration {
	if age := s.age(space); age > 0 {
		return min(age, s.o.Pending)
	}
	return s.o.Pending
}

// drop removes images, one repository after the other. Whether they are still unused is
// looked at again, and nothing is put meanwhile.
func (s *Store) drop(ctx context.Context, victims []*image) (n int, err error) {
	byRepo := map[*repo][]digest.Digest{}
	var order []*repo
	for _, i := range victims {
		if byRepo[i.r] == nil {
			order = append(order, i.r)
		}
		byRepo[i.r] = append(byRepo[i.r], i.root)
	}
	for _, r := range order {
		dropped, err := s.dropFrom(ctx, r, byRepo[r])
		if n += dropped; err != nil {
			return n, fmt.Errorf("remove images of %s: %w", r.repository, err)
		}
	}
	return n, ctx.Err()
}

func (s *Store) dropFrom(ctx context.Context, old *repo, roots []digest.Digest) (n int, err error) {
	s.making.Lock()
	defer s.making.Unlock()
	defer s.manifests.forget(old.place)
	m := &model{sizes: map[digest.Digest]int64{}}
	r := &repo{base: old.base, place: old.place, ns: old.ns, pins: old.pins, used: old.used}
	m.repos = []*repo{r}
	return n, r.base.update(ctx, r.ns, func(ctx context.Context, tx *bbolt.Tx) error {
		if err := m.read(ctx, tx, r); err != nil {
			return err
		}
		kept := map[digest.Digest]bool{}
		var gone []*image
		for _, i := range m.images(s.uses.current()) {
			if slices.Contains(roots, i.root) && !i.needed {
				gone = append(gone, i)
				continue
			}
			for d := range i.all {
				kept[d] = true
			}
		}
		n = len(gone)
		for _, i := range gone {
			for d := range i.all {
				if e, is := r.manifests[d]; is && !kept[d] {
					kept[d] = true // once
					if err := r.base.dropManifest(ctx, tx, r.ns, e); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// garbage ends leases that are over, and has containerd remove the records that nothing
// leads to. What was used a moment ago is kept for a little longer.
// Dropped says that images went since the model was read.
func (s *Store) garbage(ctx context.Context, m *model, dropped bool) (err error) {
	if err := s.endLeases(ctx, m); err != nil {
		return err
	}
	if dropped { // nobody but who uses them needs their blobs
		if m, err = s.model(ctx); err != nil {
			return err
		}
	}
	if err := s.keepUsed(ctx, m, s.uses.current()); err != nil {
		return err
	}
	for _, base := range []*base{s.durable, s.cache} {
		// Not with a context that ends: containerd leaves a goroutine behind then.
		if _, err := base.meta.GarbageCollect(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("collect garbage: %w", full(err))
		}
	}
	return s.forgetPlaces(ctx)
}

func (s *Store) endLeases(ctx context.Context, m *model) error {
	now := s.o.Now()
	for _, r := range m.repos {
		if err := s.endLeasesOf(ctx, r, now); err != nil {
			return fmt.Errorf("end leases in %s: %w", r.repository, err)
		}
	}
	return nil
}

// endLeasesOf looks in the transaction what is in use: a blob that has come again since the
// model was read has a new lease under the same name.
func (s *Store) endLeasesOf(ctx context.Context, r *repo, now time.Time) error {
	used := func(d digest.Digest) bool { return s.uses.has(use{r.place, d}) }
	over := slices.DeleteFunc(slices.Clone(r.idle), used)
	for d, since := range r.leased {
		if !used(d) && now.Sub(since) >= s.pending(r.space) {
			over = append(over, d)
		}
	}
	if len(over) == 0 {
		return nil
	}
	return r.base.update(ctx, r.ns, func(ctx context.Context, _ *bbolt.Tx) error {
		for _, d := range slices.DeleteFunc(over, used) {
			if err := r.base.leases.Delete(ctx, leases.Lease{ID: d.String()}); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
		return nil
	})
}
