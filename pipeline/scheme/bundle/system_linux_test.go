package bundle_test

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A rootfs with a mount, upon it or in it, is not moved: the replacement, begun
// with config.json, is undone, and what is mounted stays as it is.
func TestReplacementThatFailsIsUndone(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	for _, at := range []string{"rootfs", "rootfs/proc", "rootfs/a b\\c"} {
		path := filepath.Join(t.TempDir(), "bundle")
		l := pipelinetest.Tar(t, pipelinetest.File{Name: "proc/"}, pipelinetest.File{Name: "a b\\c/"}, pipelinetest.File{Name: "f", Body: "1"})
		write(t, layers(t, l), path)
		mount := filepath.Join(path, at)
		if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=64k"); err != nil {
			t.Skip("nothing can be mounted here: ", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_DETACH) })
		writeFile(t, mount+"/file", "on the mount")
		before := snapshot(t, path)
		if err := try(t, layers(t, file(t, "f", "2")), path); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "unmount it first") {
			t.Errorf("%s: got %v", at, err)
		}
		if after := snapshot(t, path); after != before {
			t.Errorf("%s: before:\n%s\nafter:\n%s", at, before, after)
		}
	}
}

// An ordinary user gets a bundle, also over one with directories that shut him
// out, and is told what it lacks. As root, the test runs itself as nobody.
func TestOrdinaryUserIsToldWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	if pipelinetest.AsNobody(t, "^TestOrdinaryUser|^TestRootless|^TestHostile|^TestBundle|^TestFailedRun") {
		return
	}
	path := filepath.Join(t.TempDir(), "bundle")
	l := pipelinetest.Tar(t,
		pipelinetest.File{Name: "./", Mode: 0o555}, pipelinetest.File{Name: "closed/", Mode: 0o500}, pipelinetest.File{Name: "closed/f", Body: "1"},
		pipelinetest.File{Name: "disk", Type: tar.TypeBlock, Mode: 0o666})
	for range 2 {
		write(t, layers(t, l), path)
		if got := content(t, path+"/rootfs/closed/f"); got != "1" {
			t.Errorf("the file has %q", got)
		}
	}
	l = pipelinetest.Tar(t, pipelinetest.File{Name: "f", Body: "1"}, pipelinetest.File{Name: "disk", Type: tar.TypeBlock, Mode: 0o666})
	_, w, err := made(t, "", ocispec.ImageConfig{}, l)
	if err != nil {
		t.Fatal(err)
	}
	if !w.Has("rootfs lacks what this user") || !w.Has("devices: disk") || !w.Has("owners: ") {
		t.Errorf("it says %v", w.List)
	}
	for _, p := range []string{path + "/rootfs", path + "/rootfs/closed"} { // or the test could not be cleaned up
		if err := os.Chmod(p, 0o700); err != nil {
			t.Error(err)
		}
	}
}

// A full disk fails the run, names the reason, and leaves the bundle as it was.
func TestFullDiskLeavesTheBundleAsItWas(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small disk")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("no tmpfs can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	path := filepath.Join(disk, "bundle")
	write(t, layers(t, file(t, "f", "first")), path)
	full := 0
	for i := range 40 { // ever larger ones, until long after the disk is full
		before := snapshot(t, path)
		err := try(t, layers(t, file(t, "f", strings.Repeat("x", i<<13))), path)
		if err == nil {
			continue
		}
		if full++; !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if after := snapshot(t, path); after != before {
			t.Fatalf("with %d bytes, before:\n%s\nafter:\n%s", i<<13, before, after)
		}
	}
	if full == 0 || full > 35 {
		t.Errorf("of 40 runs the disk was full for %d", full)
	}
}
