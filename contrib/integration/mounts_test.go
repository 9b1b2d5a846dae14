//go:build integration && linux

package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/scheme/overlay"
)

// mountPath is a new directory for mounts://, taken apart when the test ends.
func mountPath(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("only root may mount")
		}
		t.Skip("only root may mount")
	}
	path := filepath.Join(t.TempDir(), "mounts: x,y")
	t.Cleanup(func() {
		if err := overlay.Unmount(path, true); err != nil {
			t.Error(err)
		}
	})
	return path
}

// mountsSink is mounts:// in the matrix: what is in the directory is the image,
// and its shell runs where it is mounted.
func mountsSink() place {
	return place{
		uri:  func(t testing.TB) string { return "mounts://" + mountPath(t) },
		look: checked,
		judge: func(t testing.TB, uri string) {
			path := strings.TrimPrefix(uri, "mounts://")
			if got := inRoot(t, path, "cat /opt/dir/new"); got != "new" {
				t.Errorf("%s has %q in it", path, got)
			}
		},
	}
}

// inRoot asks the shell of a mounted image.
func inRoot(t testing.TB, path, question string) string {
	t.Helper()
	env := []string{"PATH=/bin:/usr/sbin:/sbin:/usr/bin"}
	return strings.TrimSpace(run(context.WithoutCancel(t.Context()), t, env, nil, "/usr/sbin/chroot", path+"/rootfs", "/bin/sh", "-c", question))
}

// mounted writes an image to mounts:// and asks its shell, in the mounted tree and
// in containers of it, what it asks everywhere.
func mounted(t *testing.T, from string, f fixture, filtered bool) {
	t.Helper()
	path := mountPath(t)
	process(t, from, "mounts://"+path, filtered)
	want := f.plain
	if filtered {
		want = f.changed
	}
	if got := inRoot(t, path, f.probe); got != want {
		t.Errorf("the mounted tree says\n%s\nwant\n%s", got, want)
	}
	checkBundle(t, path, expectation{fixture: f, filtered: filtered})
}

// TestRegistryToMounts: what came from a registry runs.
func TestRegistryToMounts(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, filtered bool) {
		f := layered(t)
		mounted(t, registryURI(push(t, f)), f, filtered)
	})
}

// TestTarToMounts: what came from an archive runs.
func TestTarToMounts(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, filtered bool) {
		f := layered(t)
		mounted(t, "tar://"+f.archive(t, "fixture.test/x:1"), f, filtered)
	})
}

// TestDockerToMounts: what a daemon built runs.
func TestDockerToMounts(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e engine) {
		name := e.build(t)
		eachWay(t, func(t *testing.T, filtered bool) {
			mounted(t, e.uri(t, name), builtFixture(), filtered)
		})
	})
}
