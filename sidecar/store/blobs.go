package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/occystrap/occystrap/pipeline/registry"
)

var _ registry.Blobs = spaceBlobs{}

// spaceBlobs are the blobs of a space.
type spaceBlobs struct{ sp *Space }

// Stat says how many bytes a blob has.
func (b spaceBlobs) Stat(_ context.Context, repository string, d digest.Digest) (int64, error) {
	size, err := b.sp.size(b.sp.place(repository).namespace(), d)
	if err == nil {
		b.sp.s.uses.touch(use{b.sp.place(repository), d}, b.sp.s.o.Now())
	}
	return size, err
}

// size is that of a blob that is visible in a namespace.
func (sp *Space) size(ns string, d digest.Digest) (size int64, err error) {
	for _, base := range sp.bases() {
		var there bool
		if err := base.bolt.View(func(tx *bbolt.Tx) error {
			size, there = base.knows(tx, ns, d)
			return nil
		}); err != nil || there {
			return size, err
		}
	}
	return 0, missing("blob", d.String())
}

// bases are the databases that may know a blob of the space.
func (sp *Space) bases() []*base {
	if sp.o.Volatile {
		return []*base{sp.s.cache}
	}
	return []*base{sp.s.durable, sp.s.cache}
}

// Open reads a blob. The image that has it is not removed before it was closed; what
// is returned is a *File.
func (b spaceBlobs) Open(_ context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	if _, err := b.sp.size(b.sp.place(repository).namespace(), d); err != nil {
		return nil, err
	}
	u := use{b.sp.place(repository), d}
	b.sp.s.uses.begin(u, b.sp.s.o.Now())
	f, err := b.sp.s.files.open(d)
	if err == nil && offset > 0 {
		if _, err = f.Seek(offset, io.SeekStart); err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		b.sp.s.uses.end(u, b.sp.s.o.Now())
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	return &File{File: f, done: func() { b.sp.s.uses.end(u, b.sp.s.o.Now()) }}, nil
}

// A File is a blob that is read. The kernel sends it like an *os.File.
type File struct {
	*os.File
	done func()
}

// Close ends the use.
func (f *File) Close() error {
	if f.done != nil {
		f.done()
		f.done = nil
	}
	return f.File.Close()
}

// Mount makes a blob of another repository of the space visible in this one.
func (b spaceBlobs) Mount(ctx context.Context, repository, from string, d digest.Digest) error {
	if from != "" {
		if _, err := b.sp.size(b.sp.place(from).namespace(), d); err != nil {
			return err
		}
	} else if there, err := b.sp.anywhere(ctx, d); err != nil || !there {
		return errors.Join(err, missing("blob", d.String()))
	}
	b.sp.s.making.RLock()
	defer b.sp.s.making.RUnlock()
	if _, err := os.Stat(b.sp.s.files.path(d)); err != nil { // removed meanwhile
		return missing("blob", d.String())
	}
	return b.sp.arrived(ctx, repository, d)
}

// arrived records a blob that is in place. The caller holds Store.making.
func (sp *Space) arrived(ctx context.Context, repository string, d digest.Digest) error {
	p := sp.place(repository)
	sp.s.uses.touch(use{p, d}, sp.s.o.Now())
	sp.s.made(d)
	return sp.s.cache.update(ctx, p.namespace(), func(ctx context.Context, tx *bbolt.Tx) error {
		if err := found(ctx, tx, p); err != nil {
			return err
		}
		return sp.s.arrived(ctx, d)
	})
}

// anywhere says whether a repository of the space has a blob.
func (sp *Space) anywhere(ctx context.Context, d digest.Digest) (there bool, err error) {
	for _, base := range sp.bases() {
		err := base.view(ctx, "", func(ctx context.Context, tx *bbolt.Tx) error {
			all, err := places(ctx, tx)
			for ns, p := range all {
				if there {
					break
				}
				if p.space == sp.name {
					_, there = base.knows(tx, ns, d)
				}
			}
			return err
		})
		if err != nil || there {
			return there, err
		}
	}
	return false, nil
}

// Delete removes a blob from a repository. One that a manifest there needs is not
// removed: what is kept is whole.
func (b spaceBlobs) Delete(ctx context.Context, repository string, d digest.Digest) error {
	ns, s := b.sp.place(repository).namespace(), b.sp.s
	s.making.Lock() // no manifest is put that would find it there
	defer s.making.Unlock()
	if err := b.sp.free(ctx, ns, d); err != nil {
		return err
	}
	was := false
	for _, base := range b.sp.bases() {
		if err := base.update(ctx, ns, func(ctx context.Context, _ *bbolt.Tx) error {
			there, err := base.forgets(ctx, d)
			was = was || there
			return err
		}); err != nil {
			return err
		}
	}
	if !was {
		return missing("blob", d.String())
	}
	s.work.sweepSoon()
	return nil
}

// free refuses a blob that is a manifest of the namespace, or that one needs.
func (sp *Space) free(ctx context.Context, ns string, d digest.Digest) error {
	return sp.images().view(ctx, ns, func(_ context.Context, tx *bbolt.Tx) error {
		e, there, err := readEntry(tx, ns, d)
		if err == nil && !there {
			e, there, err = neededBy(tx, ns, d)
		}
		if err == nil && there {
			err = &registry.Error{Code: registry.Denied, Message: fmt.Sprintf("manifest %s needs the blob; delete that first", e.Desc.Digest)}
		}
		return err
	})
}
