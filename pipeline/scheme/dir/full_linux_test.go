package dir_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

// A full disk fails the run, names the reason, and leaves what was there.
func TestFullDiskLeavesAllImagesReadable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small disk")
	}
	for query, top := range map[string]int{"": 64, "?format=oci": 64, "?expand=true": 24} {
		t.Run("layout"+query, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=600k"); err != nil {
				t.Skip("no tmpfs can be mounted here: ", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
			write(t, path+query, "keep:1", layer(t, "keep", "1"))
			full := 0
			for i := range top { // ever larger ones, until long after the disk is full
				body := noise(i << 10)
				err := tryWrite(t, path+query, "app:1", layer(t, "big", body), layer(t, "small", body[:i]))
				if errors.Is(err, syscall.ENOSPC) {
					full++
				} else if err != nil {
					t.Fatal(err)
				}
				if got := read(t, path); got["docker.io/library/keep:1"] == nil {
					t.Fatalf("there are %v", names(got))
				}
			}
			if full == 0 {
				t.Error("the disk never was full")
			}
		})
	}
}

// noise does not compress.
func noise(n int) string {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}
