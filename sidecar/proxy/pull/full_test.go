package pull_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
)

// A full space takes so many bytes of each upload; below zero it takes no upload.
type full struct {
	pull.Space
	room int
}

func (f full) Backend() registry.Backend {
	b := f.Space.Backend()
	b.Uploads = fullUploads{b.Uploads, f.room}
	return b
}

type fullUploads struct {
	registry.Uploads
	room int
}

func (f fullUploads) Begin(ctx context.Context, repository, id string) (registry.Upload, error) {
	if f.room < 0 {
		return nil, syscall.ENOSPC
	}
	up, err := f.Uploads.Begin(ctx, repository, id)
	return &fullUpload{up, f.room}, err
}

type fullUpload struct {
	registry.Upload
	room int
}

func (f *fullUpload) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, syscall.ENOSPC
	}
	return f.Upload.Write(p)
}

func TestFullDiskIsNoReasonToFail(t *testing.T) {
	t.Parallel()
	for _, room := range []int{-1, 0, 300 << 10} {
		t.Run(strconv.Itoa(room), func(t *testing.T) {
			t.Parallel()
			up := newFar(t)
			content := strings.Repeat("0123456789abcdef", 64<<10)
			m, layer := up.image(t, repo, "1", content)
			in := &spaces{dir: t.TempDir(), m: map[string]*space{}}
			w := newWorldIn(t, up, in, func(c *pull.Config) {
				c.Space = func(name string) pull.Space { return full{in.get(name), room} }
			})
			if got := w.want(manifestPath("1"), 200); got.digest() != m.Digest {
				t.Errorf("%s", got.digest())
			}
			for range 2 {
				whole := w.want(blobPath(layer), 200)
				if digest.FromString(whole.body) != layer {
					t.Error("other bytes")
				}
				part := w.get(blobPath(layer), "Range", "bytes=500000-500099")
				if part.status != http.StatusPartialContent || part.body != whole.body[500000:500100] {
					t.Errorf("range: status %d, %d bytes, %v", part.status, len(part.body), part.err)
				}
			}
			eventually(t, "somebody is told", func() bool { return w.warned() > 0 })
			// What is not kept is verified all the same.
			w.want(manifestPath("1"), 200)
			up.fail(func(w http.ResponseWriter, _ *http.Request) bool {
				lie := []byte(content)
				w.Header().Set("Content-Length", strconv.Itoa(len(lie)))
				_, _ = w.Write(lie)
				return true
			})
			lied := digest.FromString("other content")
			if got := w.get(blobPath(lied)); got.err == nil && got.status == 200 {
				t.Error("a lie was told to its end")
			}
		})
	}
}
