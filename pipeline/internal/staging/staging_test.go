package staging_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

func open(t *testing.T, path string) *staging.Dir {
	t.Helper()
	d, err := staging.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func names(t *testing.T, path string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// All that a run prepares goes with it, but for what got its name; a directory
// that was made for nothing goes, too.
func TestWhatGotNoNameIsGone(t *testing.T) {
	t.Parallel()
	for published, want := range map[bool][]string{true: {"list"}, false: nil} {
		path := filepath.Join(t.TempDir(), "a/b")
		d := open(t, path)
		f, _, err := d.Create()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if published {
			if err := d.Write("list", []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		d.RemoveLock()
		if err := d.Close(published); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); published != (err == nil) {
			t.Errorf("published %v: %v", published, err)
		}
		if published && !slices.Equal(names(t, path), want) {
			t.Errorf("there are %v", names(t, path))
		}
	}
}

// What a run that lives has prepared is left alone; what one left that is no more
// is removed by the next, and so is nothing else.
func TestOnlyTheDeadAreRemoved(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	for _, n := range []string{".occystrap-DEAD.tmp/1/deep", ".occystrap-other", "mine.tmp"} {
		if err := os.MkdirAll(filepath.Join(path, n), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	living := open(t, path)
	f, name, err := living.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	next := open(t, path)
	if _, err := next.Root.Stat(name); err != nil {
		t.Errorf("what a living run prepared: %v", err)
	}
	if err := errors.Join(next.Close(true), living.Close(true)); err != nil {
		t.Error(err)
	}
	if got := names(t, path); !slices.Equal(got, []string{".occystrap-other", ".occystrap.lock", "mine.tmp"}) {
		t.Errorf("there are %v", got)
	}
}

// The lock is one run's at a time, also when its file is taken away meanwhile.
func TestLockIsOneRunsAtATime(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	one, two := open(t, path), open(t, path)
	unlock, err := one.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	two.RemoveLock() // it is held
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := two.Lock(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second run has the lock: %v", err)
	}
	unlock()
	one.RemoveLock()
	if _, err := os.Stat(filepath.Join(path, ".occystrap.lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock's file is there: %v", err)
	}
	if unlock, err = two.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := errors.Join(one.Close(true), two.Close(true)); err != nil {
		t.Error(err)
	}
}

// A tree takes the place of another; that one goes.
func TestTreeTakesThePlaceOfAnother(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d := open(t, path)
	for range 2 {
		temp := d.Temp()
		if err := d.Root.MkdirAll(temp+"/inside", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := d.Root.Chmod(temp, 0o555); err != nil { // as an image may want it
			t.Fatal(err)
		}
		if err := d.PlaceTree(temp, "tree"); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(true); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path + "/tree"); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("the tree is %v, %v", info, err)
	}
	if err := os.Chmod(path+"/tree", 0o755); err != nil { // or the test could not be cleaned up
		t.Fatal(err)
	}
	if got := names(t, path); !slices.Equal(got, []string{".occystrap.lock", "tree"}) {
		t.Errorf("there are %v", got)
	}
}
