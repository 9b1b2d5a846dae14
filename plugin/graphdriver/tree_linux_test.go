package graphdriver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Kernels before 5.6 have no openat2, and some sandboxes forbid it.
func TestWithoutOpenat2NothingLeadsOutEither(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "diff/etc"), 0o700), os.WriteFile(filepath.Join(dir, "outside"), []byte("secret"), 0o600),
		os.WriteFile(filepath.Join(dir, "diff/etc/passwd"), []byte("root"), 0o600), os.Symlink("../outside", filepath.Join(dir, "diff/out")),
		os.Symlink("/", filepath.Join(dir, "diff/all"))); err != nil {
		t.Fatal(err)
	}
	tr, err := openTree(root, "diff")
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	fd, err := tr.openSlowly("etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	f := file{fd}
	defer f.close()
	buf := make([]byte, 8)
	if n, err := f.read(buf); err != nil || string(buf[:n]) != "root" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	for _, name := range []string{"out", "../outside", "all" + filepath.Join(dir, "outside")} {
		if fd, err := tr.openSlowly(name); err == nil {
			file{fd}.close()
			t.Errorf("%s leads out", name)
		}
	}
}
