package tarball_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taken is what a graph gave, every layer read to its end.
type taken struct {
	manifests []pipeline.Manifest
	diffIDs   map[digest.Digest]digest.Digest // of the layers, by digest
	roles     map[digest.Digest]pipeline.Role
}

// roots are the manifests that names point at.
func (g taken) roots() (out []pipeline.Manifest) {
	for _, m := range g.manifests {
		if m.Root {
			out = append(out, m)
		}
	}
	return out
}

// take opens a source and reads all of it.
func take(ctx context.Context, src pipeline.Source, q pipeline.Query) (taken, error) {
	g, err := src.Open(ctx, q)
	if err != nil {
		return taken{}, err
	}
	got, err := drain(ctx, g)
	if cerr := g.Close(); err == nil {
		err = cerr
	}
	return got, err
}

func drain(ctx context.Context, g pipeline.Graph) (taken, error) {
	got := taken{diffIDs: map[digest.Digest]digest.Digest{}, roles: map[digest.Digest]pipeline.Role{}}
	uses := map[string]bool{}
	for l, err := range g.Layers(ctx) {
		if err != nil {
			return got, err
		}
		use := fmt.Sprint(l.Blob.Digest, l.Role, len(l.Parents)) // upon others it may come again
		if uses[use] {
			return got, fmt.Errorf("layer %s is yielded twice", use)
		}
		uses[use] = true
		d, err := diffID(ctx, l)
		if err != nil {
			return got, err
		}
		if l.DiffID != "" && l.DiffID != d {
			return got, fmt.Errorf("layer %s has diff ID %s, not %s", l.Blob.Digest, d, l.DiffID)
		}
		got.diffIDs[l.Blob.Digest], got.roles[l.Blob.Digest] = d, l.Role
	}
	for m, err := range g.Manifests(ctx) {
		if err != nil {
			return got, err
		}
		got.manifests = append(got.manifests, m)
	}
	return got, nil
}

// diffID reads a layer and unpacks it.
func diffID(ctx context.Context, l pipeline.Layer) (digest.Digest, error) {
	rc, err := l.Open(ctx)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	raw, err := io.ReadAll(rc)
	if err != nil {
		return "", err
	}
	if l.Blob.Size != int64(len(raw)) || l.Blob.Digest != digest.FromBytes(raw) {
		return "", fmt.Errorf("layer %s is not what it says", l.Blob.Digest)
	}
	switch {
	case bytes.HasPrefix(raw, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return "", err
		}
		if raw, err = io.ReadAll(z); err != nil {
			return "", err
		}
	case bytes.HasPrefix(raw, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(nil)
		if err != nil {
			return "", err
		}
		defer z.Close()
		if raw, err = z.DecodeAll(raw, nil); err != nil {
			return "", err
		}
	}
	return digest.FromBytes(raw), nil
}

// source opens tar://path.
func source(t testing.TB, uri string, cfg tarball.Config) pipeline.Source {
	t.Helper()
	if cfg.TempDir == "" {
		cfg.TempDir = t.TempDir()
	}
	src, err := pipeline.Schemes{tarball.Scheme(cfg)}.Source(uri)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// bothWays runs a test on an archive in a file and on one that arrives once.
func bothWays(t *testing.T, raw []byte, query string, test func(t *testing.T, src pipeline.Source)) {
	t.Helper()
	for _, way := range []string{"file", "stream"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			temp := t.TempDir()
			cfg := tarball.Config{TempDir: temp}
			uri := "tar://-" + query
			if way == "file" {
				uri = "tar://" + strings.ReplaceAll(store(t, raw), "#", "%23") + query
			} else {
				cfg.Stdin = bytes.NewReader(raw)
			}
			test(t, source(t, uri, cfg))
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left in the temporary directory: %v, %v", left, err)
			}
		})
	}
}
