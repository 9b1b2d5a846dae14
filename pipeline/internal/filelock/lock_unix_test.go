//go:build unix

package filelock_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/filelock"
)

// A child that was forked and has not called exec yet has the file open too; the
// lock must not last until it has.
func TestUnlockedIsFreeWhoeverHasTheFileOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	held, next := open(t, path), open(t, path)
	if got, err := filelock.Try(held); err != nil || !got {
		t.Fatal(got, err)
	}
	child, err := syscall.Dup(int(held.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(child)
	if got, err := filelock.Try(next); err != nil || got {
		t.Fatal("two have the lock:", got, err)
	}
	if err := filelock.Unlock(held); err != nil {
		t.Fatal(err)
	}
	if got, err := filelock.Try(next); err != nil || !got {
		t.Fatal("the lock is held by nobody, and not free:", got, err)
	}
	if err := filelock.Unlock(next); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
