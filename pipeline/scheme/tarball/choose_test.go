package tarball_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

func TestNamesAreReadInFull(t *testing.T) {
	t.Parallel()
	i := newImage(t, "names", 1)
	oci := func(annotations map[string]string) []byte {
		return i.oci(t, nil, gzipped, ocispec.MediaTypeImageLayerGzip, annotations)
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want []string
	}{
		{"several tags", i.dockerSave(t, "app:1", "registry.example:5000/team/app:2"), []string{"docker.io/library/app:1", "registry.example:5000/team/app:2"}},
		{"a port is no tag", i.dockerSave(t, "localhost:5000/foo/bar"), []string{"localhost:5000/foo/bar:latest"}},
		{"no tags", i.dockerSave(t), nil},
		{"empty tag", i.dockerSave(t, ""), nil},
		{"not a name", i.dockerSave(t, "UPPER CASE", "app:1"), []string{"docker.io/library/app:1"}},
		{"containerd", oci(map[string]string{"io.containerd.image.name": "quay.io/a/b:c", "org.opencontainers.image.ref.name": "c"}), []string{"quay.io/a/b:c"}},
		{"podman", oci(map[string]string{"org.opencontainers.image.ref.name": "localhost/foo:latest"}), []string{"localhost/foo:latest"}},
		{"only a tag", oci(map[string]string{"org.opencontainers.image.ref.name": "latest"}), nil},
		{"manifest.json adds names", i.oci(t, func(es []entry) []entry {
			return append(es, file("manifest.json", marshal(t, []savedEntry{{Config: "blobs/sha256/" + hexOf(i.config), RepoTags: []string{"app:9"}}})))
		}, gzipped, ocispec.MediaTypeImageLayerGzip, nil), []string{"docker.io/library/app:9"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, c.raw, "", func(t *testing.T, src pipeline.Source) {
				got, err := take(t.Context(), src, pipeline.Query{})
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(c.want, got.roots()[0].Names); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

// twoImages is an archive of docker save with two images that share a layer.
func twoImages(t *testing.T) (raw []byte, one, two image) {
	t.Helper()
	one = newImage(t, "shared", 2)
	two = image{}
	two.add(one.layers[0])
	two.add(newImage(t, "other", 1).layers[0])
	two.seal(t)
	saved := []savedEntry{
		{Config: "1.json", RepoTags: []string{"app:1"}, Layers: []string{"a.tar", "b.tar"}},
		{Config: "2.json", RepoTags: []string{"app:2", "other:2"}, Layers: []string{"a.tar", "c.tar"}},
	}
	return pack(t, file("a.tar", one.layers[0]), file("b.tar", one.layers[1]), file("c.tar", two.layers[1]),
		file("1.json", one.config), file("2.json", two.config), file("manifest.json", marshal(t, saved))), one, two
}

func TestSeveralImagesAreTakenOrChosen(t *testing.T) {
	t.Parallel()
	raw, _, two := twoImages(t)
	for _, c := range []struct {
		query         string
		roots, layers int
		names         []string
	}{
		{"", 2, 3, []string{"docker.io/library/app:1"}},
		{"?image=all", 2, 3, []string{"docker.io/library/app:1"}},
		{"?image=app:2", 1, 2, []string{"docker.io/library/app:2"}},
		{"?image=docker.io/library/other:2", 1, 2, []string{"docker.io/library/other:2"}},
		{"?image=sha256:" + hexOf(two.config), 1, 2, []string{"docker.io/library/app:2", "docker.io/library/other:2"}},
	} {
		t.Run(c.query, func(t *testing.T) {
			t.Parallel()
			bothWays(t, raw, c.query, func(t *testing.T, src pipeline.Source) {
				got, err := take(t.Context(), src, pipeline.Query{})
				if err != nil {
					t.Fatal(err)
				}
				if len(got.roots()) != c.roots || len(got.diffIDs) != c.layers {
					t.Fatalf("%d roots, %d layers", len(got.roots()), len(got.diffIDs))
				}
				if d := cmp.Diff(c.names, got.roots()[0].Names); d != "" {
					t.Error(d)
				}
			})
		})
	}
	t.Run("unknown", func(t *testing.T) {
		t.Parallel()
		bothWays(t, raw, "?image=app:3", func(t *testing.T, src pipeline.Source) {
			_, err := take(t.Context(), src, pipeline.Query{})
			if err == nil || !strings.Contains(err.Error(), "docker.io/library/app:1") {
				t.Errorf("the error does not tell what there is: %v", err)
			}
		})
	})
}

func TestMissingPlatformsOfAnIndexArePruned(t *testing.T) {
	t.Parallel()
	i := newImage(t, "held", 1)
	es, here := i.blobs(t, gzipped, ocispec.MediaTypeImageLayerGzip)
	here.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	gone := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4, Platform: &ocispec.Platform{OS: "linux", Architecture: "arm64"}}
	idx := marshal(t, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{here, gone}})
	top := marshal(t, ocispec.Index{Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(idx), Size: int64(len(idx))}}})
	raw := pack(t, append(es, file("blobs/sha256/"+hexOf(idx), idx), file("index.json", top))...)
	bothWays(t, raw, "", func(t *testing.T, src pipeline.Source) {
		warned := false
		q := pipeline.Query{Events: func(e pipeline.Event) { warned = warned || e.Kind == pipeline.EventWarning }}
		got, err := take(t.Context(), src, q)
		if err != nil || len(got.diffIDs) != 1 || !warned {
			t.Errorf("%d layers, warned %v, %v", len(got.diffIDs), warned, err)
		}
	})
}
