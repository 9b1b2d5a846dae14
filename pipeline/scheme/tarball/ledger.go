package tarball

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/occystrap/occystrap/pipeline/internal/filelock"
	"github.com/occystrap/occystrap/pipeline/inventory"
)

// A ledger is the file that remembers what was sent. It is locked from the start
// of a run to its end, and changed when the archive has its name.
type ledger struct {
	path string
	lock *os.File
	inv  *inventory.Inventory // what was sent before
}

// openLedger locks and reads a ledger. One that is not there is empty.
func openLedger(path string) (*ledger, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	l := &ledger{path: path}
	// The ledger is replaced, so the lock has a file of its own. It stays: who
	// waits for it, or finds it, means this file.
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the ledger %s: %w", path, plainError(err))
	}
	got, err := filelock.Try(lock)
	if err == nil && !got {
		err = errors.New("another run writes for the same destination; wait until it has ended")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the ledger %s: %w", path, err), lock.Close())
	}
	l.lock = lock
	if l.inv, err = readLedger(path); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func readLedger(path string) (*inventory.Inventory, error) {
	inv, err := inventory.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &inventory.Inventory{}, nil
	}
	return inv, err
}

// stage writes the ledger with what is in an archive, under a temporary name.
func (l *ledger) stage(manifests []parsed) (*inventory.Staged, error) {
	now := &inventory.Inventory{}
	now.Merge(l.inv)
	for _, m := range manifests {
		for _, h := range holdings(m) {
			now.Add(h)
		}
	}
	return now.Stage(l.path)
}

func (l *ledger) close() error { return filelock.Unlock(l.lock) }

// meet reads what the destination has, once: the list of it, and the ledger.
func (s *sink) meet() error {
	s.meeting.Do(func() {
		if s.cfg.HaveFile == "" && s.cfg.LedgerFile == "" {
			return
		}
		s.have = &inventory.Inventory{}
		if s.cfg.HaveFile != "" {
			var listed *inventory.Inventory
			if listed, s.unmet = inventory.Read(s.cfg.HaveFile); s.unmet != nil {
				return
			}
			s.have.Merge(listed)
		}
		if s.cfg.LedgerFile == "" {
			return
		}
		if s.foresees {
			sent, err := readLedger(s.cfg.LedgerFile)
			if s.unmet = err; err == nil {
				s.have.Merge(sent)
			}
			return
		}
		if s.ledger, s.unmet = openLedger(s.cfg.LedgerFile); s.unmet == nil {
			s.have.Merge(s.ledger.inv)
		}
	})
	return s.unmet
}

// publish gives the archive its name, and then the ledger that tells of it.
func (s *sink) publish() error {
	if s.ledger == nil {
		return s.target.publish()
	}
	order, _, err := s.parseAll()
	if err != nil {
		return err
	}
	staged, err := s.ledger.stage(order) // all that can fail of it, before
	if err != nil {
		return err
	}
	defer staged.Close()
	if err := s.target.publish(); err != nil {
		return err
	}
	if err := staged.Publish(); err != nil {
		return fmt.Errorf("the archive is complete, but not recorded, so the next one has its layers again: %w", err)
	}
	return nil
}
