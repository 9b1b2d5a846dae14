package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// made tells a sweep that a blob is wanted. The caller holds Store.making.
func (s *Store) made(d digest.Digest) {
	s.placedMu.Lock()
	defer s.placedMu.Unlock()
	if s.placed != nil {
		s.placed[d] = true
	}
}

// sweep removes the files that no repository has, and returns how many bytes they had.
// First it looks what is recorded, while others go on; what they record meanwhile they
// tell. The lock is held for one file at a time.
func (s *Store) sweep(ctx context.Context) (int64, error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.watch(map[digest.Digest]bool{})
	defer s.watch(nil)
	recorded, err := s.recorded(ctx)
	if err != nil {
		return 0, err
	}
	var freed, left int64
	err = s.files.each(func(path string, d digest.Digest, size int64) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if d != "" && recorded[d] {
			left += size
			return nil
		}
		gone, err := s.removeUnwanted(path, d)
		if gone {
			freed += size
		} else {
			left += size
		}
		return err
	})
	if err != nil {
		return freed, fmt.Errorf("remove what nobody sees: %w", err)
	}
	s.bytes.Store(left + s.uploads.bytes())
	return freed, s.sweepTemporary()
}

// watch has what is made noted from now on, after all that is being made was.
func (s *Store) watch(m map[digest.Digest]bool) {
	s.making.Lock()
	defer s.making.Unlock()
	s.placedMu.Lock()
	defer s.placedMu.Unlock()
	s.placed = m
}

// removeUnwanted removes a file, unless it was recorded meanwhile.
func (s *Store) removeUnwanted(path string, d digest.Digest) (bool, error) {
	s.making.Lock()
	defer s.making.Unlock()
	s.placedMu.Lock()
	defer s.placedMu.Unlock()
	if d != "" && s.placed[d] {
		return false, nil
	}
	return true, remove(path)
}

// recorded are the digests that any repository has.
func (s *Store) recorded(ctx context.Context) (map[digest.Digest]bool, error) {
	all := map[digest.Digest]bool{}
	for _, base := range []*base{s.durable, s.cache} {
		if err := base.bolt.View(func(tx *bbolt.Tx) error {
			names, err := places(ctx, tx)
			for ns := range names {
				eachRecord(tx, ns, func(d digest.Digest) { all[d] = true })
			}
			return err
		}); err != nil {
			return nil, fmt.Errorf("read what is recorded: %w", err)
		}
	}
	return all, nil
}

// eachRecord calls fn for all blobs of a namespace.
func eachRecord(tx *bbolt.Tx, ns string, fn func(digest.Digest)) {
	if b := records(tx, ns); b != nil {
		_ = b.ForEachBucket(func(k []byte) error { // which only ends with an error of fn
			fn(digest.Digest(k))
			return nil
		})
	}
}

// sweepTemporary removes what a crash left of files that were being written.
func (s *Store) sweepTemporary() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	s.snapping.Lock() // which writes one
	defer s.snapping.Unlock()
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := remove(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// recovered puts right what the last process left, if it crashed, and counts.
func (s *Store) recovered(ctx context.Context) error {
	if s.crashed {
		if _, err := s.sweep(ctx); err != nil {
			return err
		}
		s.crashed = false
	}
	return s.count(ctx)
}

// count counts what is on disk.
func (s *Store) count(ctx context.Context) error {
	var total int64
	if err := s.files.each(func(_ string, _ digest.Digest, size int64) error {
		total += size
		return ctx.Err()
	}); err != nil {
		return fmt.Errorf("count bytes: %w", err)
	}
	s.bytes.Store(total + s.uploads.bytes())
	return nil
}
