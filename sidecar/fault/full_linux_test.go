package fault

import (
	"context"
	"crypto/rand"
	"net/http"
	"os"
	"os/exec"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/sidecar/proxy"
)

// A full disk fails a push, and nothing wrong is kept; with room again the push works.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, "2m")
	w := newWorld(t, func(c *proxy.Config, other string) {
		mirrors(c, other)
		c.Store.Dir = dir
	})
	big := make([]byte, 8<<20)
	_, _ = rand.Read(big)
	err := w.PushBlob(t.Context(), "plain/a", big)
	if err == nil {
		t.Fatal("8 MiB have room in 2")
	}
	if s := status(err); s != 0 && (s < 500 || s > 507) {
		t.Errorf("the client sees %v", err)
	}
	if a, err := w.Do(t.Context(), http.MethodHead, "/v2/plain/a/blobs/"+digest.FromBytes(big).String(), nil); err != nil || a.Status != http.StatusNotFound {
		t.Errorf("the blob: status %d, %v", a.Status, err)
	}
	w.other.Push(t, "team/app", w.store, w.image, "1")
	must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"))
	eventually(t, "with room, the push works", func() bool { return w.PushBlob(t.Context(), "plain/a", big) == nil })
	if _, err := w.push(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := w.pull(t.Context()); err != nil {
		t.Error(err)
	}
}

// tmpfs is a file system of a size of its own; only root can make one.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("only a root that may mount can make a small file system: %v", err)
	}
	t.Cleanup(func() { _ = exec.CommandContext(context.Background(), "umount", "-l", dir).Run() })
	return dir
}
