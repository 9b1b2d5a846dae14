package graphdriver_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/plugin/graphdriver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a store, and closes it with the test.
func open(t *testing.T, g *pipelinetest.GraphDriver) *graphdriver.Store {
	t.Helper()
	s, err := graphdriver.Open(g.Root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// read reads a layer to its end.
func read(t *testing.T, s *graphdriver.Store, image, diffID digest.Digest) ([]byte, error) {
	t.Helper()
	rc, err := s.Layer(t.Context(), image, diffID)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

// large is more than what is read ahead, of no pattern.
func large() string {
	var b strings.Builder
	for i := 0; b.Len() < 5<<18; i++ {
		b.WriteString(digest.FromString(string(rune(i))).Encoded())
	}
	return b.String()
}

// layers are plain layers of all kinds of entries.
func layers(t *testing.T) [][]byte {
	long := strings.Repeat("a-long-name/", 20) + "file"
	base := pipelinetest.Tar(t,
		pipelinetest.File{Name: "./"},
		pipelinetest.File{Name: "./etc/"},
		pipelinetest.File{Name: "./etc/passwd", Body: "root:x:0:0::/:/bin/sh\n"},
		pipelinetest.File{Name: "./etc/empty"},
		pipelinetest.File{Name: "usr/bin/<tool> & \"co\"", Body: "#!/bin/sh\n", Mode: 0o755, PAX: map[string]string{"SCHILY.xattr.user.x": "y"}},
		pipelinetest.File{Name: "/absolute", Body: "absolute\n"},
		pipelinetest.File{Name: "latin-\xe9", Body: "not UTF-8\n"},
		pipelinetest.File{Name: "dev/null", Type: tar.TypeChar},
		pipelinetest.File{Name: "bin", Link: "usr/bin", Type: tar.TypeSymlink},
		pipelinetest.File{Name: "etc/hard", Link: "etc/passwd", Type: tar.TypeLink},
		pipelinetest.File{Name: long, Body: "deep\n"},
		pipelinetest.File{Name: "large", Body: large()},
	)
	return [][]byte{
		append(base, make([]byte, 20*512)...), // as many tools pad to 10 KiB
		pipelinetest.Tar(t, pipelinetest.File{Name: "etc/.wh.passwd"}, pipelinetest.File{Name: "srv/.wh..wh..opq"}, pipelinetest.File{Name: "srv/new", Body: "new\n"}),
		pipelinetest.Tar(t),
	}
}

func TestLayersAreTheTarsThatTheyWere(t *testing.T) {
	t.Parallel()
	tars := layers(t)
	g := pipelinetest.NewGraphDriver(t)
	id := g.Image(t, tars...)
	s := open(t, g)
	image, err := s.Image(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if digest.FromBytes(image.Config) != id || len(image.Layers) != len(tars) {
		t.Fatalf("%d layers, config %s", len(image.Layers), image.Config)
	}
	var all sync.WaitGroup
	for i, l := range image.Layers {
		if want := digest.FromBytes(tars[i]); l.DiffID != want || l.Size != int64(len(tars[i])) {
			t.Errorf("layer %d is %+v; want %s of %d bytes", i, l, want, len(tars[i]))
		}
		all.Go(func() {
			got, err := read(t, s, id, l.DiffID)
			if err != nil || !bytes.Equal(got, tars[i]) {
				t.Errorf("layer %d: %d bytes are not the %d that were stored: %v", i, len(got), len(tars[i]), err)
			}
		})
	}
	all.Wait()
}

// A file that is not what it was never passes for a layer, and the error names it.
func TestDamageIsAnErrorInPlaceOfTheEnd(t *testing.T) {
	t.Parallel()
	tars := layers(t)
	chain := digest.FromBytes(tars[0]) // of the lowest layer
	for name, tc := range map[string]struct {
		damage func(g *pipelinetest.GraphDriver) error
		want   string
	}{
		"another content": {
			func(g *pipelinetest.GraphDriver) error {
				return os.WriteFile(filepath.Join(g.Contents(chain), "etc/passwd"), []byte("root::0:0::/:/bin/sh\n "), 0o600)
			}, `"./etc/passwd" has another content`,
		},
		"shorter": {
			func(g *pipelinetest.GraphDriver) error {
				return os.WriteFile(filepath.Join(g.Contents(chain), "etc/passwd"), nil, 0o600)
			}, `"./etc/passwd" has 0 bytes, and had 22`,
		},
		"a link in its place": {
			func(g *pipelinetest.GraphDriver) error {
				at := filepath.Join(g.Contents(chain), "etc/passwd")
				return errors.Join(os.Remove(at), os.Symlink("/etc/passwd", at))
			}, `open "./etc/passwd"`,
		},
		"a pipe in its place": {
			func(g *pipelinetest.GraphDriver) error {
				at := filepath.Join(g.Contents(chain), "etc/passwd")
				return errors.Join(os.Remove(at), syscall.Mkfifo(at, 0o600))
			}, `no regular file`,
		},
		"another tar-split": {
			func(g *pipelinetest.GraphDriver) error {
				above := digest.FromString(chain.String() + " " + digest.FromBytes(tars[1]).String())
				return os.Rename(filepath.Join(g.Database(above), "tar-split.json.gz"), filepath.Join(g.Database(chain), "tar-split.json.gz"))
			}, "srv/new",
		},
		"half a tar-split": {
			func(g *pipelinetest.GraphDriver) error {
				return os.Truncate(filepath.Join(g.Database(chain), "tar-split.json.gz"), 200)
			}, "tar-split.json.gz",
		},
		"no tar-split": {
			func(g *pipelinetest.GraphDriver) error {
				return os.Remove(filepath.Join(g.Database(chain), "tar-split.json.gz"))
			}, "was the image deleted meanwhile?",
		},
		"no contents": {
			func(g *pipelinetest.GraphDriver) error { return os.RemoveAll(g.Contents(chain)) }, "was the image deleted meanwhile?",
		},
		"no cache ID": {
			func(g *pipelinetest.GraphDriver) error {
				return os.Remove(filepath.Join(g.Database(chain), "cache-id"))
			}, "was the image deleted meanwhile?",
		},
		"a cache ID that leads out": {
			func(g *pipelinetest.GraphDriver) error {
				return os.WriteFile(filepath.Join(g.Database(chain), "cache-id"), []byte("../../etc"), 0o600)
			}, "names no folder",
		},
		"another diff ID": {
			func(g *pipelinetest.GraphDriver) error {
				return os.WriteFile(filepath.Join(g.Database(chain), "diff"), []byte(digest.FromString("x").String()), 0o600)
			}, "the store is damaged",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := pipelinetest.NewGraphDriver(t)
			id := g.Image(t, tars...)
			if err := tc.damage(g); err != nil {
				t.Fatal(err)
			}
			got, err := read(t, open(t, g), id, chain)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%d bytes, %v; want an error that has %q", len(got), err, tc.want)
			}
		})
	}
}

func TestAnImageThatGoesIsNotFound(t *testing.T) {
	t.Parallel()
	g := pipelinetest.NewGraphDriver(t)
	id := g.Image(t, layers(t)...)
	s := open(t, g)
	if err := os.WriteFile(g.Config(id), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Image(t.Context(), id); !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("a config of another digest: %v", err)
	}
	if err := os.Remove(g.Config(id)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Image(t.Context(), id); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("an image that is gone: %v", err)
	}
}

// Names come from the tar, and so from whoever made the image. What is outside has
// the right bytes here, so that only the way to it can be wrong.
func TestNoNameLeadsOutOfItsLayer(t *testing.T) {
	t.Parallel()
	const secret = "secret of the host"
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 30)
	for name, link := range map[string]string{
		up + outside[1:]:    "", // no link: the name itself
		"x/" + up + outside: "",
		"through" + outside: "/",
		"upwards" + outside: up,
		"file":              outside,
		"self" + outside:    "/proc/self/root",
	} {
		g := pipelinetest.NewGraphDriver(t)
		layer := pipelinetest.Tar(t, pipelinetest.File{Name: name, Body: secret})
		id, diffID := g.Image(t, layer), digest.FromBytes(layer)
		s := open(t, g)
		if got, err := read(t, s, id, diffID); err != nil || !bytes.Equal(got, layer) {
			t.Fatalf("%q: %d bytes: %v", name, len(got), err)
		}
		contents := g.Contents(diffID)
		if err := os.RemoveAll(contents); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(contents, 0o700); err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(name, "/"); link != "" {
			if err := os.Symlink(link, filepath.Join(contents, first)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := read(t, s, id, diffID); err == nil {
			t.Errorf("%q: %d bytes, with a file outside the layer", name, len(got))
		}
	}
}

// A layer may have a link where another entry has a directory: its files then lie
// where the link leads, within the layer.
func TestLinksOfTheLayerAreFollowedWithinIt(t *testing.T) {
	t.Parallel()
	g := pipelinetest.NewGraphDriver(t)
	layer := pipelinetest.Tar(t,
		pipelinetest.File{Name: "usr/lib/"},
		pipelinetest.File{Name: "lib", Link: "/usr/lib", Type: tar.TypeSymlink},
		pipelinetest.File{Name: "usr/lib/x", Body: "x\n"},
		pipelinetest.File{Name: "dir/y", Body: "y\n"},
	)
	id := g.Image(t, layer)
	diffID := digest.FromBytes(layer)
	// As Docker unpacks "lib/y", when lib is the link from before.
	contents := g.Contents(diffID)
	if err := errors.Join(os.Rename(filepath.Join(contents, "dir/y"), filepath.Join(contents, "usr/lib/y")),
		os.Remove(filepath.Join(contents, "dir")), os.Symlink("lib", filepath.Join(contents, "dir"))); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, open(t, g), id, diffID); err != nil || !bytes.Equal(got, layer) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
}

func TestAReaderEndsWhereverItIsClosed(t *testing.T) {
	t.Parallel()
	tars := layers(t)
	g := pipelinetest.NewGraphDriver(t)
	id := g.Image(t, tars...)
	s := open(t, g)
	for _, n := range []int64{0, 1, 300 << 10, 1 << 20} {
		rc, err := s.Layer(t.Context(), id, digest.FromBytes(tars[0]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, rc, n); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(rc.Close(), rc.Close()); err != nil {
			t.Error(err)
		}
		if _, err := rc.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a closed layer gives %v", err)
		}
	}
}

func TestNothingIsWritten(t *testing.T) {
	t.Parallel()
	tars := layers(t)
	g := pipelinetest.NewGraphDriver(t)
	id := g.Image(t, tars...)
	before := tree(t, g.Root)
	s := open(t, g)
	if _, err := s.Image(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, s, id, digest.FromBytes(tars[0])); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, g.Root); before != after {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// tree tells names, sizes and times of all files.
func tree(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.New("no stat_t")
		}
		b.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String())
		if info.Mode().IsRegular() {
			b.WriteString(" read " + time.Unix(st.Atim.Unix()).String())
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestARootThatIsNoneSaysSo(t *testing.T) {
	t.Parallel()
	if _, err := graphdriver.Open("relative"); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("%v", err)
	}
	if _, err := graphdriver.Open(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	s := open(t, pipelinetest.NewGraphDriver(t))
	for _, id := range []digest.Digest{"", "sha256:x", "../../x", digest.SHA512.FromString("x"), digest.FromString("x")} {
		if _, err := s.Image(t.Context(), id); err == nil {
			t.Errorf("there is an image %q", id)
		}
	}
}
