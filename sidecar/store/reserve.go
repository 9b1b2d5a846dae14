package store

import (
	"errors"
	"os"
	"path/filepath"
)

const (
	reserveName = "reserve"
	// reserveSize is what a transaction may need that frees space: a database writes
	// the pages that it changes elsewhere before it gives the old ones back.
	reserveSize = 4 << 20
)

// keepReserve takes some space that is given back to remove images when the disk is
// full. Without it on a disk that is full already, nothing is lost but that.
func (s *Store) keepReserve() {
	path := filepath.Join(s.dir, reserveName)
	if info, err := os.Stat(path); err == nil && info.Size() == reserveSize {
		return
	}
	zeros := make([]byte, reserveSize)
	if err := os.WriteFile(path, zeros, 0o600); err != nil {
		_ = os.Remove(path) // half of it is of little use
	}
}

// withReserve does something that frees space; on a full disk once more, with the
// reserve.
func (s *Store) withReserve(free func() error) error {
	err := free()
	if !isFull(err) {
		return err
	}
	if removed := os.Remove(filepath.Join(s.dir, reserveName)); removed != nil {
		return errors.Join(err, removed)
	}
	defer s.keepReserve()
	return free()
}
