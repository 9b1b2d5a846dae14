package store

import "time"

// SetSteady sets the clock that nobody sets, for what is in use.
func (s *Store) SetSteady(now func() time.Time) { s.uses.setNow(now) }

// Snapshot saves cache.db at once.
func (s *Store) Snapshot() error { return s.snapshot() }

// SetMaxNotes bounds the facts of a repository.
func (s *Store) SetMaxNotes(n int) { s.maxNotes = n }
