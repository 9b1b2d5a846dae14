package staging

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/occystrap/occystrap/pipeline/internal/filelock"
)

// lockFile is held while what others see is changed, and only then.
const lockFile = ".occystrap.lock"

// Lock waits until no other program changes what the directory shows.
func (d *Dir) Lock(ctx context.Context) (unlock func(), err error) {
	f, err := filelock.Wait(ctx, d.tryDirLock)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return func() { _ = filelock.Unlock(f) }, nil
}

// tryDirLock takes the lock if it is free, and still has its name: a run that
// leaves nothing behind takes the lock's file away too.
func (d *Dir) tryDirLock() (f *os.File, got bool, err error) {
	f, err = d.Root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, FilePerm)
	if errors.Is(err, os.ErrPermission) { // another user's; to read is enough
		f, err = d.Root.Open(lockFile)
	}
	if err != nil {
		return nil, false, Plain(err)
	}
	if got, err = filelock.Try(f); err == nil && got {
		mine, merr := f.Stat()
		named, nerr := d.Root.Stat(lockFile)
		got = merr == nil && nerr == nil && os.SameFile(mine, named)
	}
	if !got || err != nil {
		return nil, false, errors.Join(err, filelock.Unlock(f)) // it may be locked, without its name
	}
	return f, true, nil
}

// RemoveLock takes the lock's file away, for a directory that shows nothing but
// what was published; not while another run is at it.
func (d *Dir) RemoveLock() {
	if f, got, err := d.tryDirLock(); err == nil && got {
		_ = d.Root.Remove(lockFile)
		_ = filelock.Unlock(f)
	}
}
