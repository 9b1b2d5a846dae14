package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// Repair looks like Verify, and drops what is broken with all that depends on it: bytes
// that are damaged, manifests that lack something, their tags, and files that nothing
// records. It reports each fault and what it did. A client finds that an image is not
// there any more, and pushes or pulls it again.
func (s *Store) Repair(ctx context.Context, report func(Fault)) error {
	bad := map[digest.Digest]string{}
	var files []Fault
	if err := s.Verify(ctx, func(f Fault) {
		switch f.Kind {
		case Damaged, Missing:
			bad[digest.Digest(f.Name)] = f.Kind
		case Orphan:
			files = append(files, f)
			return
		default:
			return // they are found again below
		}
		f.Text, f.Mended = f.Text+"; removed", true
		report(f)
	}); err != nil {
		return err
	}
	for _, base := range []*base{s.durable, s.cache} {
		if err := s.withReserve(func() error { return s.dropBad(ctx, base, bad, report) }); err != nil {
			return err
		}
	}
	for d := range bad {
		if err := s.discard(ctx, d); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := os.RemoveAll(filepath.Join(s.dir, filepath.FromSlash(f.Name))); err != nil {
			return fmt.Errorf("remove a file: %w", err)
		}
		f.Text, f.Mended = f.Text+"; removed", true
		report(f)
	}
	return nil
}

// discard removes the bytes of a bad blob, unless somebody has put it again.
func (s *Store) discard(ctx context.Context, d digest.Digest) error {
	s.making.Lock()
	defer s.making.Unlock()
	recorded, err := s.recorded(ctx)
	if err != nil || recorded[d] {
		return err
	}
	return remove(s.files.path(d))
}

// dropBad removes bad blobs from the repositories of a database, with the manifests
// that need them and the tags that lead nowhere.
func (s *Store) dropBad(ctx context.Context, b *base, bad map[digest.Digest]string, report func(Fault)) error {
	defer s.manifests.forgetAll()
	s.making.Lock()
	defer s.making.Unlock()
	var all map[string]place
	if err := b.view(ctx, "", func(ctx context.Context, tx *bbolt.Tx) (err error) {
		all, err = places(ctx, tx)
		return err
	}); err != nil {
		return err
	}
	for ns, p := range all {
		var done []Fault
		if err := b.update(ctx, ns, func(ctx context.Context, tx *bbolt.Tx) (err error) {
			done, err = b.mend(ctx, tx, &repo{base: b, place: p, ns: ns}, bad)
			if err == nil && len(done) == 0 {
				return errNothing // spares a commit
			}
			return err
		}); err != nil && !errors.Is(err, errNothing) {
			return fmt.Errorf("repair repository %s of space %s: %w", p.repository, p.space, err)
		}
		for _, f := range done {
			if f.Kind != "" {
				report(f)
			}
		}
	}
	return nil
}

var errNothing = errors.New("nothing to repair")

// mend repairs one repository.
func (b *base) mend(ctx context.Context, tx *bbolt.Tx, r *repo, bad map[digest.Digest]string) (done []Fault, err error) {
	m := &model{sizes: map[digest.Digest]int64{}}
	if err := m.read(ctx, tx, r); err != nil {
		return nil, err
	}
	broken := map[digest.Digest]bool{}
	for d := range bad {
		broken[d] = true
	}
	for _, f := range r.faults(broken) {
		f.Mended, f.Text = true, f.Text+"; removed"
		done = append(done, f)
		if f.Kind == Dangling {
			err = unset(tx, r.ns, bucketTags, f.Name)
		} else {
			err = b.dropManifest(ctx, tx, r.ns, r.manifests[digest.Digest(f.Name)])
		}
		if err != nil {
			return nil, err
		}
	}
	for d := range bad {
		if !r.blobs[d] {
			continue
		}
		if _, err := b.forgets(ctx, d); err != nil {
			return nil, err
		}
		done = append(done, Fault{}) // nothing to tell, but to commit
	}
	return done, nil
}

// dropLost removes what cache.db has of files that a power failure took, and then the
// files that came after cache.db was saved, which may be damaged.
func (s *Store) dropLost(ctx context.Context) error {
	bad := map[digest.Digest]string{}
	m := &model{sizes: map[digest.Digest]int64{}}
	if err := s.cache.view(ctx, "", func(ctx context.Context, tx *bbolt.Tx) error {
		all, err := places(ctx, tx)
		for ns, p := range all {
			if err == nil {
				err = m.read(within(ctx, tx, ns), tx, &repo{base: s.cache, place: p, ns: ns})
			}
		}
		return err
	}); err != nil {
		return err
	}
	for d, size := range m.sizes {
		if info, err := os.Stat(s.files.path(d)); err != nil || info.Size() != size {
			bad[d] = Missing
		}
	}
	if err := s.dropBad(ctx, s.cache, bad, func(f Fault) { s.o.Log.Warn("store: after a power failure: " + f.Text) }); err != nil {
		return err
	}
	_, err := s.sweep(ctx)
	return err
}
