//go:build linux

package rootfs_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline/internal/rootfs"
)

// Files are found as in a container: links end within the tree, whatever they
// name, and nothing but a regular file is opened.
func TestOpenFollowsLinksWithinTheTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree := newTree(t, dir, rootfs.Options{})
	l := layer{
		directory("etc"), mode(directory("usr/lib"), 0o000), file("usr/lib/passwd", "inside"),
		symlink("etc/absolute", "/usr/lib/passwd"), symlink("etc/relative", "../usr/lib/passwd"), symlink("etc/above", "../../../../usr/lib/passwd"),
		symlink("etc/twice", "relative"), symlink("lib", "usr/lib"), symlink("etc/gone", "nowhere"), symlink("a", "b"), symlink("b", "a"),
		symlink("etc/out", filepath.Join(dir, "../../../../../../etc/passwd")),
		{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o666},
	}
	if err := tree.Apply(t.Context(), layerFile(t, l...)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"usr/lib/passwd", "/usr/lib/passwd", "etc/absolute", "etc/relative", "etc/above", "etc/twice", "lib/passwd", "../lib/passwd"} {
		f, err := tree.Open(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if raw, err := io.ReadAll(f); err != nil || string(raw) != "inside" {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
		f.Close()
	}
	for name, want := range map[string]error{
		"etc/gone": unix.ENOENT, "a": unix.ELOOP, "none": unix.ENOENT, "usr/lib/passwd/x": unix.ENOTDIR, "pipe": nil, "etc": nil, "": nil, "etc/out": nil,
	} {
		if f, err := tree.Open(name); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
}

// To open a device can do something already: a watchdog starts, a tape rewinds.
// This one has no driver, so the system's own error would tell of the attempt.
func TestOpenLeavesDevicesAlone(t *testing.T) {
	t.Parallel()
	needRoot(t)
	tree := newTree(t, t.TempDir(), rootfs.Options{})
	l := layer{symlink("link", "char")}
	for name, kind := range map[string]byte{"char": tar.TypeChar, "block": tar.TypeBlock} {
		l = append(l, &tar.Header{Name: name, Typeflag: kind, Mode: 0o666, Devmajor: 4000, Devminor: 1})
	}
	if err := tree.Apply(t.Context(), layerFile(t, l...)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"char", "block", "link"} {
		if _, err := tree.Open(name); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s was opened: %v", name, err)
		}
	}
}

// What is mounted in a tree is not the tree's: a bind mount of somebody's files
// outlives it.
func TestRemovalStopsAtMounts(t *testing.T) {
	t.Parallel()
	needRoot(t)
	around := t.TempDir()
	for _, d := range []string{"tree/a/home", "precious"} {
		if err := os.MkdirAll(filepath.Join(around, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	kept := filepath.Join(around, "precious/file")
	if err := os.WriteFile(kept, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(around, "tree/a/home")
	if err := syscall.Mount(filepath.Join(around, "precious"), at, "", syscall.MS_BIND, ""); err != nil {
		t.Skip("nothing can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) })
	d, err := os.Open(around)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := rootfs.RemoveAll(d, "tree"); !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %v", err)
	}
	if raw, err := os.ReadFile(kept); err != nil || string(raw) != "kept" {
		t.Errorf("what was mounted is gone: %v", err)
	}
}
