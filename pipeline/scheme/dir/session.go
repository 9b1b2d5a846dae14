package dir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/occystrap/occystrap/pipeline"
)

const (
	// lockFile is held while lists are changed, and only then.
	lockFile = ".occystrap.lock"
	// Temporary files of a run are in one directory of its own.
	sessionPrefix, sessionSuffix = ".occystrap-", ".tmp"
	// lockPause is how often a lock that another program holds is tried again.
	lockPause = 20 * time.Millisecond
)

// A session is one run's work in a directory: all it writes has temporary names
// until it is published. The session's own directory is locked as long as the
// run lives, so that the next run can tell what a killed one left, and removes it.
type session struct {
	*folder
	name    string // of the directory for temporary files
	alive   *os.File
	created bool // the directory itself was not there before
	next    atomic.Int64
}

// openSession opens or makes the directory for writing.
func openSession(ctx context.Context, path string, limits pipeline.Limits) (*session, error) {
	_, err := os.Lstat(path)
	created := errors.Is(err, os.ErrNotExist)
	if err := os.MkdirAll(path, dirPerm); err != nil {
		return nil, notDirectory(path, err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, notDirectory(path, err)
	}
	s := &session{folder: &folder{root: root, what: path, limits: limits}, created: created, name: sessionPrefix + rand.Text() + sessionSuffix}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return s, nil
}

func notDirectory(path string, err error) error {
	if info, serr := os.Stat(path); serr == nil && !info.IsDir() {
		return errors.New("it is a file; name a directory, or write tar://")
	}
	return plainError(err)
}

// begin makes the directory for temporary files, and removes those that runs
// have left that are no more.
func (s *session) begin(ctx context.Context) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := s.entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		n := e.Name()
		if e.IsDir() && strings.HasPrefix(n, sessionPrefix) && strings.HasSuffix(n, sessionSuffix) {
			s.removeDead(n)
		}
	}
	if err := s.root.Mkdir(s.name, 0o700); err != nil {
		return plainError(err)
	}
	if s.alive, err = s.root.Open(s.name); err != nil {
		return plainError(err)
	}
	_, err = tryLock(s.alive)
	return err
}

// removeDead removes the temporary files of a run that has ended without doing
// so. That it cannot be removed is no failure.
func (s *session) removeDead(name string) {
	d, err := s.root.Open(name)
	if err != nil {
		return
	}
	defer d.Close()
	if free, err := tryLock(d); err == nil && free {
		_ = s.removeTree(name)
	}
}

// lock waits until no other program changes the lists of the directory.
func (s *session) lock(ctx context.Context) (unlock func(), err error) {
	for {
		f, got, err := s.tryListLock()
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		if got {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// tryListLock takes the lock if it is free, and still has its name: a run that
// leaves no directory behind takes the lock's file away too.
func (s *session) tryListLock() (f *os.File, got bool, err error) {
	f, err = s.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, filePerm)
	if errors.Is(err, os.ErrPermission) { // another user's; to read is enough
		f, err = s.root.Open(lockFile)
	}
	if err != nil {
		return nil, false, plainError(err)
	}
	if got, err = tryLock(f); err == nil && got {
		mine, merr := f.Stat()
		named, nerr := s.root.Stat(lockFile)
		got = merr == nil && nerr == nil && os.SameFile(mine, named)
	}
	if !got || err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	return f, true, nil
}

// temp is a new temporary name.
func (s *session) temp() string { return fmt.Sprintf("%s/%d", s.name, s.next.Add(1)) }

// create opens a new temporary file.
func (s *session) create() (*os.File, string, error) {
	name := s.temp()
	f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, filePerm)
	return f, name, plainError(err)
}

// write puts a whole small file under its name, durably: a list that was there
// must survive a power cut.
func (s *session) write(name string, raw []byte) error {
	f, temp, err := s.create()
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, cause(err))
	}
	return s.place(temp, name)
}

// close removes what has a temporary name still; a directory that was made for
// nothing goes too.
func (s *session) close(published bool) error {
	err := s.removeTree(s.name)
	if s.created && !published {
		s.removeEmpty()
	}
	return errors.Join(err, s.alive.Close(), s.root.Close())
}

// removeEmpty removes the directory if nothing but the lock's file is in it and
// no other run is at it.
func (s *session) removeEmpty() {
	f, got, err := s.tryListLock()
	if err != nil || !got {
		return
	}
	defer f.Close()
	if entries, err := s.entries(); err == nil && len(entries) == 1 {
		_ = s.root.Remove(lockFile)
		_ = os.Remove(s.what)
	}
}
