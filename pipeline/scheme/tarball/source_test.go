package tarball_test

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

func TestSampleArchivesKeepTheirDiffIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file   string
		layers int
		names  []string
	}{
		{"busybox-1.36.1-musl-amd64-oci.tar", 1, []string{"docker.io/library/busybox:1.36.1-musl-amd64"}},
		{"dive-test-docker-image.tar", 14, []string{"docker.io/library/dive-test:latest"}},
		{"dive-test-kaniko-image.tar", 14, []string{"docker.io/library/dive-test:kaniko-latest"}},
		{"dive-test-oci-estargz-image.tar", 1, nil},
		{"dive-test-oci-zstd-image.tar", 1, nil},
		{"ggcr-hello-world-v25.tar", 1, nil},
		{"ggcr-test_link.tar", 1, []string{"docker.io/bazel/v1/tarball:test_image_1"}},
		{"ggcr-whiteout_image.tar", 3, []string{"docker.io/bazel/pkg/v1/mutate:whiteout_image"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(filepath.Join("testdata", "images", c.file))
			if err != nil {
				t.Fatal(err)
			}
			bothWays(t, raw, "", func(t *testing.T, src pipeline.Source) {
				got, err := take(t.Context(), src, pipeline.Query{})
				if err != nil {
					t.Fatal(err)
				}
				root := got.roots()[0]
				if d := diffIDs(t, got, root); len(d) != c.layers {
					t.Errorf("%d layers, want %d", len(d), c.layers)
				}
				if d := cmp.Diff(c.names, root.Names); d != "" {
					t.Error(d)
				}
				for _, more := range got.roots()[1:] {
					diffIDs(t, got, more)
				}
			})
		})
	}
}

// diffIDs compares the diff IDs of what was read with those of the config.
func diffIDs(t *testing.T, got taken, m pipeline.Manifest) (out []digest.Digest) {
	t.Helper()
	var manifest ocispec.Manifest
	var config ocispec.Image
	if err := json.Unmarshal(m.Raw, &manifest); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(m.Config, &config); err != nil {
		t.Fatal(err)
	}
	for _, l := range manifest.Layers {
		out = append(out, got.diffIDs[l.Digest])
	}
	if d := cmp.Diff(config.RootFS.DiffIDs, out); d != "" {
		t.Errorf("the layers are not those of the config: %s", d)
	}
	return out
}

// expect reads an archive in both ways and compares it with the image.
func expect(t *testing.T, raw []byte, want image) {
	t.Helper()
	bothWays(t, raw, "", func(t *testing.T, src pipeline.Source) {
		got, err := take(t.Context(), src, pipeline.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.roots()) != 1 {
			t.Fatalf("%d roots, want 1", len(got.roots()))
		}
		root := got.roots()[0]
		if string(root.Config) != string(want.config) {
			t.Error("the config's bytes changed")
		}
		if d := cmp.Diff(want.diffIDs, diffIDs(t, got, root)); d != "" {
			t.Error(d)
		}
	})
}

func TestEveryGenerationIsRead(t *testing.T) {
	t.Parallel()
	i := newImage(t, "generation", 3)
	layers := []string{hexOf(i.layers[0]) + ".tar", hexOf(i.layers[1]) + ".tar", hexOf(i.layers[2]) + ".tar"}
	saved := func(config string, layers ...string) entry {
		return file("manifest.json", marshal(t, []savedEntry{{Config: config, Layers: layers}}))
	}
	config := hexOf(i.config) + ".json"
	for _, c := range []struct {
		name string
		raw  []byte
	}{
		{"docker save 1.10 to 24", i.dockerSave(t, "app:1")},
		{"docker save 25, graph driver", i.oci(t, func(es []entry) []entry {
			return slices.Insert(es, 0, directory("blobs/"), directory("blobs/sha256/"))
		}, plain, ocispec.MediaTypeImageLayer, nil)},
		{"docker save 25, containerd store", i.oci(t, nil, gzipped, ocispec.MediaTypeImageLayerGzip, nil)},
		{"zstd layers", i.oci(t, nil, zstandard, ocispec.MediaTypeImageLayerZstd, nil)},
		{"index first", i.oci(t, func(es []entry) []entry { slices.Reverse(es); return es }, gzipped, ocispec.MediaTypeImageLayerGzip, nil)},
		{"tar of a directory, with ./", i.oci(t, func(es []entry) []entry {
			out := []entry{directory("./")}
			for _, e := range es {
				e.name = "./" + e.name
				out = append(out, e)
			}
			return out
		}, gzipped, ocispec.MediaTypeImageLayerGzip, nil)},
		{"podman and skopeo", pack(t, file(layers[0], i.layers[0]), symlink("id0/layer.tar", "../"+layers[0]), file(layers[1], i.layers[1]),
			symlink("id1/layer.tar", "../"+layers[1]), file(layers[2], i.layers[2]), file(config, i.config), saved(config, layers...))},
		{"layers by their symbolic links", pack(t, file(layers[0], i.layers[0]), symlink("id0/layer.tar", "../"+layers[0]), file(layers[1], i.layers[1]),
			file(layers[2], i.layers[2]), file(config, i.config), saved(config, "id0/layer.tar", layers[1], layers[2]))},
		{"hard links", pack(t, file(layers[0], i.layers[0]), hardlink("a/layer.tar", layers[0]), symlink("b/layer.tar", "../a/layer.tar"),
			file(layers[1], i.layers[1]), file(layers[2], i.layers[2]), file(config, i.config), saved(config, "b/layer.tar", layers[1], layers[2]))},
		{"kaniko", pack(t, file("sha256:"+hexOf(i.config), i.config), file("a.tar.gz", gzipped(t, i.layers[0])), file("b.tar.gz", gzipped(t, i.layers[1])),
			file("c.tar.gz", gzipped(t, i.layers[2])), saved("sha256:"+hexOf(i.config), "a.tar.gz", "b.tar.gz", "c.tar.gz"))},
		{"compressed where plain is usual", pack(t, file("a/layer.tar", zstandard(t, i.layers[0])), file("b/layer.tar", gzipped(t, i.layers[1])),
			file("c/layer.tar", i.layers[2]), file(config, i.config), saved(config, "a/layer.tar", "b/layer.tar", "c/layer.tar"))},
		{"blobs listed by manifest.json only", pack(t, file("blobs/sha256/"+hexOf(i.config), i.config), file("blobs/sha256/"+hexOf(gzipped(t, i.layers[0])), gzipped(t, i.layers[0])),
			file("blobs/sha256/"+hexOf(i.layers[1]), i.layers[1]), file("blobs/sha256/"+hexOf(i.layers[2]), i.layers[2]), file("index.json", []byte(`{"manifests":null}`)),
			saved("blobs/sha256/"+hexOf(i.config), "blobs/sha256/"+hexOf(gzipped(t, i.layers[0])), "blobs/sha256/"+hexOf(i.layers[1]), "blobs/sha256/"+hexOf(i.layers[2])))},
		{"manifest.json first", pack(t, saved(config, layers...), file(config, i.config), file(layers[0], i.layers[0]), file(layers[1], i.layers[1]), file(layers[2], i.layers[2]))},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			expect(t, c.raw, i)
		})
	}
}

func TestOuterCompressionIsSniffed(t *testing.T) {
	t.Parallel()
	i := newImage(t, "outer", 2)
	raw := i.dockerSave(t, "app:1")
	for name, compressed := range map[string][]byte{
		"gzip": gzipped(t, raw), "zstd": zstandard(t, raw), "xz": xzipped(t, raw),
		"two gzip members": append(gzipped(t, raw[:1000]), gzipped(t, raw[1000:])...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, compressed, i)
		})
	}
	t.Run("bzip2", func(t *testing.T) {
		t.Parallel()
		got, err := take(t.Context(), source(t, "tar://testdata/whiteout.tar.bz2", tarball.Config{}), pipeline.Query{})
		if err != nil || len(diffIDs(t, got, got.roots()[0])) != 3 {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestLongNamesOfEveryTarFormatAreRead(t *testing.T) {
	t.Parallel()
	i := image{}
	long := strings.Repeat("d/", 90) + "file-with-a-long-name-" + strings.Repeat("x", 120)
	for _, f := range []tar.Format{tar.FormatPAX, tar.FormatGNU} {
		i.add(pack(t, entry{name: long, typ: tar.TypeReg, body: []byte("inner"), format: f}))
	}
	i.seal(t)
	for name, f := range map[string]tar.Format{"PAX": tar.FormatPAX, "GNU": tar.FormatGNU} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := entry{name: long + ".tar", typ: tar.TypeReg, body: i.layers[0], format: f}
			b := entry{name: "b.tar", typ: tar.TypeReg, body: i.layers[1], format: f}
			saved := marshal(t, []savedEntry{{Config: "config.json", Layers: []string{a.name, b.name}}})
			expect(t, pack(t, a, b, file("config.json", i.config), file("manifest.json", saved)), i)
		})
	}
}

func TestSymlinkedDuplicateLayerIsFollowed(t *testing.T) {
	t.Parallel()
	i := image{}
	layer := newImage(t, "twice", 1).layers[0]
	i.add(layer)
	i.add(newImage(t, "between", 1).layers[0])
	i.add(layer)
	i.seal(t)
	saved := marshal(t, []savedEntry{{Config: "c.json", Layers: []string{"a/layer.tar", "b/layer.tar", "c/layer.tar"}}})
	expect(t, pack(t, file("a/layer.tar", layer), file("b/layer.tar", i.layers[1]), symlink("c/layer.tar", "../a/layer.tar"),
		file("c.json", i.config), file("manifest.json", saved)), i)
}

func TestLayerListedTwiceStaysTwiceInTheManifest(t *testing.T) {
	t.Parallel()
	i := image{}
	layer := newImage(t, "same path", 1).layers[0]
	i.add(layer)
	i.add(layer)
	i.seal(t)
	saved := marshal(t, []savedEntry{{Config: "c.json", Layers: []string{"a/layer.tar", "a/layer.tar"}}})
	expect(t, pack(t, file("a/layer.tar", layer), file("c.json", i.config), file("manifest.json", saved)), i)
}

func TestMemoryDoesNotGrowWithTheLayer(t *testing.T) { // not parallel: it measures the whole process
	const size, limit = 64 << 20, 24 << 20
	i := image{}
	i.add(pack(t, file("big", make([]byte, size))))
	i.seal(t)
	path := store(t, i.dockerSave(t))
	layer := func(uri string, cfg tarball.Config) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		g, err := source(t, uri, cfg).Open(t.Context(), pipeline.Query{})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		for l, err := range g.Layers(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			rc, err := l.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, rc)
			if err != nil || n < size {
				t.Fatalf("%d bytes, %v", n, err)
			}
			rc.Close()
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if n := layer("tar://"+path, tarball.Config{}); n > limit {
		t.Errorf("reading %d bytes from a file took %d bytes of memory", size, n)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := layer("tar://-", tarball.Config{Stdin: f}); n > limit {
		t.Errorf("reading %d bytes from a stream took %d bytes of memory", size, n)
	}
}

func ExampleScheme() {
	tars := pipeline.Schemes{tarball.Scheme(tarball.Config{})}
	src, err := tars.Source("tar://testdata/images/busybox-1.36.1-musl-amd64-oci.tar")
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	dst, err := tars.Sink("tar://" + dir + "/busybox.tar?format=docker")
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := pipeline.Run(context.Background(), src, nil, dst, pipeline.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Roots[0].Names, len(report.Layers), report.Layers[0].How)
	// Output: [docker.io/library/busybox:1.36.1-musl-amd64] 1 recoded
}
