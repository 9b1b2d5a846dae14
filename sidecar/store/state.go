package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

const stateName = "state.json"

// state is what the last process that had the store open left.
type state struct {
	// Boot is the boot of the kernel that has what was written and not synced; "" where
	// it cannot be told, which is like a power failure.
	Boot string `json:"boot"`
	// Closed says that nothing is to be put right.
	Closed bool `json:"closed"`
}

// begin looks how the last process ended, and opens cache.db: as it is if the kernel is
// the same, else as it was saved.
func (s *Store) begin(ctx context.Context) error {
	last, err := s.readState()
	if err != nil {
		return err
	}
	boot := bootID()
	kept := last.Boot == boot && boot != ""
	if err := s.uploads.forgetAll(manifestPrefix); err != nil {
		return err
	}
	if !kept {
		if err := s.restore(); err != nil {
			return err
		}
	}
	// Written before cache.db is touched, so that a power failure is seen.
	if err := s.writeState(state{Boot: boot}, true); err != nil {
		return err
	}
	if s.cache, err = openBase(ctx, filepath.Join(s.dir, cacheName), s.files, false); err != nil {
		if err = errors.Join(remove(filepath.Join(s.dir, cacheName))); err == nil { // a copy that was cut
			s.cache, err = openBase(ctx, filepath.Join(s.dir, cacheName), s.files, false)
		}
		if err != nil {
			return err
		}
	}
	if !kept {
		if err := s.dropLost(ctx); err != nil {
			return fmt.Errorf("drop what a power failure lost: %w", err)
		}
		last.Closed = true // and nothing is left to do
	}
	s.crashed, s.lost = !last.Closed, !last.Closed && kept
	return nil
}

// end says that the store was closed.
func (s *Store) end() error {
	boot := bootID()
	if boot == "" || !s.lost { // else it is long, and not needed unless the power fails
		if err := s.snapshot(); err != nil {
			return err
		}
	}
	if s.crashed { // and is not put right yet
		return nil
	}
	return s.writeState(state{Boot: boot, Closed: true}, false)
}

func (s *Store) readState() (state, error) {
	raw, err := os.ReadFile(filepath.Join(s.dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("open the store: %w", err)
	}
	var st state
	_ = json.Unmarshal(raw, &st) // half a file is like none: a crash
	return st, nil
}

func (s *Store) writeState(st state, synced bool) error {
	raw, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}
	return replaceFile(filepath.Join(s.dir, stateName), synced, func(f *os.File) error {
		_, err := f.Write(raw)
		return err
	})
}

// replaceFile writes a file that is there whole or not at all.
func replaceFile(path string, synced bool, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+filepath.Base(path))
	if err != nil {
		return full(err)
	}
	err = write(f)
	if err == nil && synced {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(full(err), remove(f.Name()))
	}
	if synced {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

const tempPrefix = ".new-"

// restore puts the last snapshot in the place of a cache.db that a power failure may
// have damaged, and gives up what was arriving.
func (s *Store) restore() error {
	cache, snap := filepath.Join(s.dir, cacheName), filepath.Join(s.dir, snapshotName)
	if err := errors.Join(remove(cache), s.uploads.forgetAll("")); err != nil {
		return err
	}
	from, err := os.Open(snap)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the last snapshot: %w", err)
	}
	defer from.Close()
	return replaceFile(cache, false, func(f *os.File) error {
		_, err := f.ReadFrom(from)
		return err
	})
}

// snapshot saves cache.db, after all blobs that it speaks of were synced.
func (s *Store) snapshot() error {
	s.snapping.Lock()
	defer s.snapping.Unlock()
	var fresh map[digest.Digest]bool
	unchanged, at := errors.New("unchanged"), 0
	err := replaceFile(filepath.Join(s.dir, snapshotName), true, func(f *os.File) error {
		if err := s.cache.bolt.View(func(tx *bbolt.Tx) error {
			if at = tx.ID(); at == s.snapped {
				return unchanged
			}
			fresh = s.files.takeUnsynced() // all that the transaction sees, and perhaps more
			_, err := tx.WriteTo(f)
			return err
		}); err != nil {
			return err
		}
		return s.syncBlobs(fresh)
	})
	switch {
	case errors.Is(err, unchanged):
		return nil
	case err != nil:
		s.files.giveBack(fresh)
		return fmt.Errorf("save cache.db: %w", full(err))
	}
	s.snapped, s.lost = at, false
	return nil
}

// syncBlobs syncs what came since the last snapshot. What came before a crash is not
// known any more, so that all of the directory is synced then.
func (s *Store) syncBlobs(fresh map[digest.Digest]bool) error {
	if s.lost {
		return syncTree(s.files)
	}
	for d := range fresh {
		if err := syncFile(s.files.path(d)); err != nil {
			return err
		}
	}
	return s.files.syncDirs()
}

// syncFile syncs a file that may be removed meanwhile.
func syncFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// giveBack puts back what was not synced after all.
func (f *files) giveBack(m map[digest.Digest]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for d := range m {
		f.unsynced[d] = true
	}
}
