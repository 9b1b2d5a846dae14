package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// Put stores a manifest and points tags at it, in one transaction. In a durable space
// it is on the disk when Put returns, with all that it names.
func (m spaceManifests) Put(ctx context.Context, repository string, man registry.Manifest, tags []string) error {
	s := m.sp.s
	if s.closed.Load() {
		return errClosed
	}
	path, err := m.write(man.Raw)
	if err != nil {
		return fmt.Errorf("put manifest %s: %w", man.Desc.Digest, err)
	}
	if err := m.place(ctx, repository, man, tags, path); err != nil {
		return fmt.Errorf("put manifest %s: %w", man.Desc.Digest, err)
	}
	return nil
}

// write writes the bytes of a manifest to a file beside the uploads.
func (m spaceManifests) write(raw []byte) (path string, err error) {
	f, err := os.CreateTemp(filepath.Join(m.sp.s.dir, uploadsDir), manifestPrefix)
	if err != nil {
		return "", full(err)
	}
	_, err = f.Write(raw)
	if err == nil && !m.sp.o.Volatile {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(full(err), remove(f.Name()))
	}
	return f.Name(), nil
}

// place puts the file in its place and records all. Nobody sees any of it before the
// transaction ends.
func (m spaceManifests) place(ctx context.Context, repository string, man registry.Manifest, tags []string, path string) error {
	s, p, d := m.sp.s, m.sp.place(repository), man.Desc.Digest
	s.making.RLock()
	defer s.making.RUnlock()
	added, err := s.files.put(path, d, !m.sp.o.Volatile)
	if err != nil {
		return errors.Join(err, remove(path))
	}
	s.grow(added)
	if !m.sp.o.Volatile {
		if err := s.files.syncDirs(); err != nil {
			return err
		}
	}
	s.made(d)
	e := entryOf(man, s.o.Now())
	present, err := m.present(p, man, &e)
	if err == nil {
		base := m.sp.images()
		defer s.manifests.forget(p)
		err = base.update(ctx, p.namespace(), func(ctx context.Context, tx *bbolt.Tx) error {
			return m.record(ctx, tx, p, e, present, tags)
		})
	}
	if err != nil {
		s.work.sweepSoon()
		return err
	}
	s.uses.touch(use{p, d}, s.o.Now())
	return s.settle(ctx, m.sp, p, present)
}

// settle ends the leases of what a manifest names now. In a durable space cache.db need
// not know the blobs any more.
func (s *Store) settle(ctx context.Context, sp *Space, p place, parts []digest.Digest) error {
	return s.cache.update(ctx, p.namespace(), func(ctx context.Context, _ *bbolt.Tx) error {
		for _, d := range parts {
			if !sp.o.Volatile {
				if _, err := s.cache.forgets(ctx, d); err != nil {
					return err
				}
			} else if err := s.cache.leases.Delete(ctx, leases.Lease{ID: d.String()}); err != nil && !errdefs.IsNotFound(err) {
				return fmt.Errorf("end the lease of %s: %w", d, err)
			}
		}
		return nil
	})
}

// present are the parts that the repository has; the others are marked as absent if
// that is allowed. The Handler looked before, but something may have been removed since.
func (m spaceManifests) present(p place, man registry.Manifest, e *entry) ([]digest.Digest, error) {
	allowed := map[digest.Digest]bool{}
	for _, d := range man.Blobs {
		if len(d.URLs) > 0 {
			allowed[d.Digest] = true
		}
	}
	var there []digest.Digest
	for i, part := range e.Parts {
		_, err := m.sp.size(p.namespace(), part.Digest)
		if err == nil {
			if _, err = os.Stat(m.sp.s.files.path(part.Digest)); err != nil {
				err = missing("blob", part.Digest.String())
			}
		}
		switch {
		case err == nil:
			there = append(there, part.Digest)
			m.sp.s.made(part.Digest)
		case !isMissing(err):
			return nil, err
		case m.sp.o.Sparse || allowed[part.Digest]:
			e.Parts[i].Absent = true
		default:
			return nil, &registry.Error{
				Code: registry.ManifestBlobUnknown, Detail: []digest.Digest{part.Digest},
				Message: "the manifest names what the repository does not have: " + part.Digest.String(),
			}
		}
	}
	return there, nil
}

// record writes all that is to be known of a manifest.
func (m spaceManifests) record(ctx context.Context, tx *bbolt.Tx, p place, e entry, present []digest.Digest, tags []string) error {
	base, ns, d := m.sp.images(), p.namespace(), e.Desc.Digest
	if err := found(ctx, tx, p); err != nil {
		return err
	}
	for _, part := range present {
		if err := base.record(ctx, part, nil); err != nil {
			return err
		}
	}
	if err := base.record(ctx, d, refs(e.Parts)); err != nil {
		return err
	}
	if err := writeEntry(tx, ns, e); err != nil {
		return err
	}
	if e.Subject != "" {
		if err := set(tx, ns, bucketReferrers, referrerKey(e.Subject, d), []byte{}); err != nil {
			return err
		}
	}
	for _, tag := range tags {
		if err := set(tx, ns, bucketTags, tag, []byte(d)); err != nil {
			return err
		}
	}
	return nil
}
