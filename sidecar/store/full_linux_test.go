package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/store"
)

// smallDisk mounts a small file system, which takes root.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	must(0, os.Mkdir(dir, 0o700))(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk cannot be mounted, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A full disk is told in words, shows nothing that is not whole, and is no lasting harm.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for name, o := range spaces() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, disk := t.Context(), smallDisk(t, "12m")
			s := open(t, filepath.Join(disk, "store"), store.Options{})
			b := s.Space("s", o).Backend()
			must(push(ctx, b, "app", "first", nil, []string{"first"}, layer("first")))(t)
			var failed error
			n := 0
			for ; failed == nil && n < 100; n++ {
				name := fmt.Sprint("v", n)
				_, failed = push(ctx, b, "app", name, nil, []string{name}, bytes.Repeat([]byte(name), 100_000))
			}
			told(t, failed)
			fill(t, disk)
			for i := range 8 { // with not a byte left, whatever is tried
				name := fmt.Sprint("w", i)
				_, err := push(ctx, b, "app", name, nil, []string{name}, layer(name))
				told(t, err)
				if _, err := b.Manifests.Stat(ctx, "app", registry.Ref{Tag: name}); !errors.Is(err, pipeline.ErrNotFound) {
					t.Errorf("%s is there: %v", name, err)
				}
			}
			for i := range n - 1 {
				if name := fmt.Sprint("v", i); !has(t, b, "app", name) {
					t.Errorf("%s was lost", name)
				}
			}
			must(0, os.Remove(filepath.Join(disk, "filler")))(t)
			clean(t, s)
			s.SetSteady(func() time.Time { return time.Now().Add(time.Hour) }) // nothing is in use any more
			if _, err := s.Prune(ctx, 0); err != nil {
				t.Error(err)
			}
			must(push(ctx, b, "app", "again", nil, []string{"again"}, layer("again")))(t)
			if !has(t, b, "app", "again") {
				t.Error("the store does not work with space again")
			}
			clean(t, s)
		})
	}
}

// told complains unless an error says that the disk is full, to the client as well.
func told(t *testing.T, err error) {
	t.Helper()
	var answer *registry.Error
	if !errors.As(err, &answer) || answer.Status != http.StatusInsufficientStorage || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the error is %v", err)
	}
}

// fill takes the rest of a disk.
func fill(t *testing.T, disk string) {
	t.Helper()
	f := must(os.Create(filepath.Join(disk, "filler")))(t)
	defer f.Close()
	for size := 1 << 16; size > 0; size /= 2 {
		for {
			if _, err := f.Write(make([]byte, size)); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				break
			}
		}
	}
}
