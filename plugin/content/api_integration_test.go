//go:build integration

package content

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// Where the files of the content store cannot be read, blobs come through
// containerd, and are the same.
func TestBlobsComeByFileAndByContainerd(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := place{socket: pipelinetest.Env(t, "OCCYSTRAP_TEST_CONTAINERD"), namespace: "occystrap-test"}.connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(true); err != nil {
			t.Error(err)
		}
	})
	if err := s.takeLease(ctx); err != nil {
		t.Fatal(err)
	}
	raw := bytes.Repeat([]byte(rand.Text()), 1<<17) // several messages
	desc := ocispec.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if err := s.put(ctx, desc, raw); err != nil {
		t.Fatal(err)
	}
	files := s.files(ctx)
	if files == "" {
		t.Fatal("root cannot read the files of the content store")
	}
	for _, c := range []*content{{store: s}, {store: s, files: files}} {
		if got, err := readBlob(ctx, c, desc); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("by files %q: %d bytes, %v; want %d", c.files, len(got), err, len(raw))
		}
	}
	away := &content{store: s, files: blobFiles(t.TempDir())} // containerd sees other files than we do
	if got, err := readBlob(ctx, away, desc); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func readBlob(ctx context.Context, c *content, desc ocispec.Descriptor) ([]byte, error) {
	rc, err := c.Open(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}
