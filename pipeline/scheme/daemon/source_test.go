package daemon_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// A pulled graph is what a source gave.
type pulled struct {
	layers    map[digest.Digest][]byte // stored bytes
	manifests []pipeline.Manifest
	warnings  []string
}

// drain reads all that a source gives.
func drain(ctx context.Context, src pipeline.Source, q pipeline.Query) (got pulled, err error) {
	got.layers = map[digest.Digest][]byte{}
	q.Events = func(e pipeline.Event) {
		if e.Kind == pipeline.EventWarning {
			got.warnings = append(got.warnings, e.Message)
		}
	}
	g, err := src.Open(ctx, q)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	for l, err := range g.Layers(ctx) {
		if err != nil {
			return got, err
		}
		b, err := stored(ctx, l)
		if err != nil {
			return got, err
		}
		got.layers[digest.FromBytes(b)] = b
	}
	for m, err := range g.Manifests(ctx) {
		if err != nil {
			return got, err
		}
		got.manifests = append(got.manifests, m)
	}
	return got, nil
}

func stored(ctx context.Context, l pipeline.Layer) (b []byte, err error) {
	rc, err := l.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	return io.ReadAll(rc)
}

func pull(t testing.TB, uri string, cfg daemon.Config, q pipeline.Query) pulled {
	t.Helper()
	got, err := tryPull(t, uri, cfg, q)
	must(t, err)
	return got
}

func tryPull(t testing.TB, uri string, cfg daemon.Config, q pipeline.Query) (pulled, error) {
	t.Helper()
	src, err := schemes(cfg).Source(uri)
	must(t, err)
	return drain(context.Background(), src, q)
}

// plainLayers decodes an image's layers in the order of its manifest.
func (p pulled) layersOf(t testing.TB, m pipeline.Manifest) (out []digest.Digest) {
	t.Helper()
	var manifest ocispec.Manifest
	decode(t, m.Raw, &manifest)
	for _, l := range manifest.Layers {
		b, ok := p.layers[l.Digest]
		if !ok {
			t.Fatalf("layer %s of the manifest did not come", l.Digest)
		}
		out = append(out, digest.FromBytes(gunzip(t, b)))
	}
	return out
}

// TestEveryEngineExportIsRead: the archives of all engines give the same image
// with its layers in order, whatever the order of the archive, with links for
// layers that come twice, folders first, and blobs that are compressed.
func TestEveryEngineExportIsRead(t *testing.T) {
	t.Parallel()
	a, b := newLayer(t, "a", true), newLayer(t, "b", true)
	i := newImage(t, "amd64", a, b, a)
	reversed := saved24(t, i, "app:1")
	slices.Reverse(reversed)
	for _, tc := range []struct {
		name    string
		engine  *fake
		members []member
	}{
		{"Docker 24", &fake{}, saved24(t, i, "app:1")},
		{"Docker 25, folders first", &fake{api: "1.44"}, saved25(t, i, "app:1")},
		{"containerd store, compressed", &fake{api: "1.51", indexes: true}, savedContainerd(t, i, "app:1")},
		{"Podman, links", &fake{podman: true}, savedPodman(t, i, "app:1")},
		{"layers after the manifest, last first", &fake{}, reversed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, tc.engine).holds(t, i, "app:1", tc.members)
			got := pull(t, f.uri("app:1"), daemon.Config{}, pipeline.Query{})
			if len(got.manifests) != 1 {
				t.Fatalf("got %d manifests, want 1", len(got.manifests))
			}
			m := got.manifests[0]
			if diff := cmp.Diff(i.diffIDs(), got.layersOf(t, m)); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
			if digest.FromBytes(m.Config) != i.configDigest() {
				t.Error("the config is another one")
			}
			if diff := cmp.Diff([]string{"docker.io/library/app:1"}, m.Names); diff != "" || !m.Root {
				t.Errorf("root %t, names (-want +got):\n%s", m.Root, diff)
			}
			if tc.engine.indexes && m.Desc.Digest != i.desc.Digest {
				t.Errorf("manifest %s, want %s as stored", m.Desc.Digest, i.desc.Digest)
			}
		})
	}
}

// TestInspectThenExport: an image is looked for before it is exported, so that
// a missing one is told from a broken export; then its name is asked for whole.
func TestInspectThenExport(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", false))
	f := start(t, new(fake)).holds(t, i, "", saved24(t, i))
	f.images[0].RepoTags = []string{"reg.example:5000/team/app:1"}
	got := pull(t, f.uri("reg.example:5000/team/app:1"), daemon.Config{}, pipeline.Query{})
	want := []string{
		"GET /version", "GET /info", // which lanes there are
		"GET /images/reg.example:5000/team/app:1/json",
		"GET /images/get?names=reg.example%3A5000%2Fteam%2Fapp%3A1",
	}
	seen := slices.DeleteFunc(f.seen(), func(s string) bool { return strings.HasSuffix(s, "/_ping") })
	for n := range seen {
		seen[n] = strings.Replace(seen[n], "/v1.41", "", 1)
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"reg.example:5000/team/app:1"}, got.manifests[0].Names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestArchiveIsBelievedNotInspect: what inspect says of layers and ID does not
// matter where the archive differs.
func TestArchiveIsBelievedNotInspect(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", false), newLayer(t, "b", false))
	for name, spoil := range map[string]func(*held){
		"no RootFS":       func(h *held) { h.RootFS.Layers = nil },
		"odd ID":          func(h *held) { h.ID = "odd" },
		"layers reversed": func(h *held) { slices.Reverse(h.RootFS.Layers) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, new(fake)).holds(t, i, "app:latest", saved25(t, i, "app:latest"))
			spoil(f.images[0])
			got := pull(t, f.uri("app"), daemon.Config{}, pipeline.Query{})
			if diff := cmp.Diff(i.diffIDs(), got.layersOf(t, got.manifests[0])); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
		})
	}
}

// TestImageByID: an ID, whole or short, finds the image, which then has no
// name; a name made of hex digits is a name where there is one.
func TestImageByID(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", false))
	id := i.configDigest()
	f := start(t, new(fake)).holds(t, i, "cafe:latest", saved24(t, i))
	for _, tc := range []struct {
		image string
		names []string
	}{
		{id.String(), nil},
		{id.Encoded(), nil},
		{id.Encoded()[:12], nil},
		{"cafe", []string{"docker.io/library/cafe:latest"}},
	} {
		t.Run(tc.image, func(t *testing.T) {
			t.Parallel()
			got := pull(t, f.uri(tc.image), daemon.Config{}, pipeline.Query{})
			if diff := cmp.Diff(tc.names, got.manifests[0].Names); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAlsoCarriesSeveralImages: one export holds all images that were asked
// for, each under its own name.
func TestAlsoCarriesSeveralImages(t *testing.T) {
	t.Parallel()
	shared := newLayer(t, "shared", true)
	one, two := newImage(t, "amd64", shared), newImage(t, "amd64", shared, newLayer(t, "own", true))
	f := start(t, new(fake)).holds(t, one, "one:1", nil).holds(t, two, "two:2", nil)
	var asked []string
	members := append(saved24(t, one), saved24(t, two)...)
	members = slices.DeleteFunc(members, func(m member) bool { return m.name == "manifest.json" || m.name == "repositories" })
	seen := map[string]bool{}
	members = slices.DeleteFunc(members, func(m member) bool { was := seen[m.name]; seen[m.name] = true; return was })
	members = append(members, member{name: "manifest.json", data: merged(t, saved24(t, one, "one:1"), saved24(t, two, "two:2"))})
	body := pack(t, members...)
	f.archive = func(w http.ResponseWriter, names []string) {
		asked = names
		_, _ = w.Write(body)
	}
	got := pull(t, f.uri("one:1")+"&also=two:2", daemon.Config{}, pipeline.Query{})
	if diff := cmp.Diff([]string{"one:1", "two:2"}, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	var names []string
	for _, m := range got.manifests {
		names = append(names, m.Names...)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"docker.io/library/one:1", "docker.io/library/two:2"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// merged joins the manifest.json of two archives.
func merged(t testing.TB, archives ...[]member) []byte {
	t.Helper()
	var all []dockerEntry
	for _, a := range archives {
		for _, m := range a {
			if m.name == "manifest.json" {
				var entries []dockerEntry
				decode(t, m.data, &entries)
				all = append(all, entries...)
			}
		}
	}
	return encode(t, all)
}

// TestOnePlatformIsAskedFor: a daemon that can, exports only the one platform
// that is wanted; an older one is not asked what it does not know.
func TestOnePlatformIsAskedFor(t *testing.T) {
	t.Parallel()
	amd, arm := newImage(t, "amd64", newLayer(t, "amd", true)), newImage(t, "arm64", newLayer(t, "arm", true))
	index, members := savedIndex(t, amd, arm)
	p, err := pipeline.ParsePlatform("linux/arm64")
	must(t, err)
	for api, asks := range map[string]bool{"1.44": false, "1.48": true} {
		t.Run(api, func(t *testing.T) {
			t.Parallel()
			f := start(t, &fake{api: api, indexes: true}).holds(t, amd, "app:latest", members)
			f.images[0].ID, f.images[0].Desc = index.Digest.String(), &index
			for _, i := range []image{amd, arm} {
				s := summary{ID: i.desc.Digest.String(), Descriptor: i.desc, Available: true, Kind: "image"}
				s.ImageData.Platform = *i.desc.Platform
				f.images[0].Manifests = append(f.images[0].Manifests, s)
			}
			q := pipeline.Query{Platforms: pipeline.Platforms{Want: []ocispec.Platform{p}}}
			got := pull(t, f.uri("app"), daemon.Config{}, q)
			if m := got.manifests[len(got.manifests)-1]; m.Desc.Digest != arm.desc.Digest || len(got.layers) != 1 {
				t.Errorf("got %s with %d layers, want the arm64 image alone", m.Desc.Digest, len(got.layers))
			}
			all := strings.Join(f.seen(), "\n")
			if strings.Contains(all, "platform=") != asks {
				t.Errorf("asked with a platform: %t, want %t:\n%s", !asks, asks, all)
			}
		})
	}
}

// TestMissingPlatformIsPruned: what an index lists and the daemon does not hold
// is left out, and said; on request it is an error.
func TestMissingPlatformIsPruned(t *testing.T) {
	t.Parallel()
	amd, arm := newImage(t, "amd64", newLayer(t, "amd", true)), newImage(t, "arm64", newLayer(t, "arm", true))
	index, members := savedIndex(t, amd, arm)
	gone := []string{blob(arm.manifest).name, blob(arm.config).name, blob(arm.layers[0].stored).name}
	members = slices.DeleteFunc(members, func(m member) bool { return slices.Contains(gone, m.name) })
	f := start(t, &fake{api: "1.51", indexes: true}).holds(t, amd, "app:latest", members)
	f.images[0].ID, f.images[0].Desc = index.Digest.String(), &index

	got := pull(t, f.uri("app"), daemon.Config{}, pipeline.Query{})
	if len(got.layers) != 1 || !strings.Contains(strings.Join(got.warnings, "\n"), "arm64") {
		t.Errorf("got %d layers and the warnings %q; want the amd64 layer and a word about arm64", len(got.layers), got.warnings)
	}
	_, err := tryPull(t, f.uri("app"), daemon.Config{}, pipeline.Query{Missing: pipeline.MissingFail})
	if !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("with --missing=fail: %v; want not found", err)
	}
}

// TestIncompleteExportIsAnError: docker save of an image without all its blobs
// ends well as far as the daemon is concerned; for us it is an error.
func TestIncompleteExportIsAnError(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", true), newLayer(t, "b", true))
	for name, members := range map[string][]member{
		"Docker":           saved24(t, i, "app:latest"),
		"containerd store": savedContainerd(t, i, "app:latest"),
		"Podman":           savedPodman(t, i, "app:latest"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			short := slices.DeleteFunc(slices.Clone(members), func(m member) bool {
				d := digest.FromBytes(m.data)
				return d == i.layers[1].diffID || d == i.layers[1].blob.Digest
			})
			f := start(t, &fake{api: "1.51"}).holds(t, i, "app:latest", short)
			_, err := tryPull(t, f.uri("app"), daemon.Config{}, pipeline.Query{})
			if !errors.Is(err, pipeline.ErrNotFound) {
				t.Errorf("error is %v; want not found", err)
			}
		})
	}
}

// TestBrokenExportShowsTheDaemonsWords: an export that goes wrong half way ends
// in the daemon's own error.
func TestBrokenExportShowsTheDaemonsWords(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", true))
	f := start(t, new(fake)).holds(t, i, "app:latest", nil)
	whole := pack(t, saved24(t, i, "app:latest")...)
	f.archive = func(w http.ResponseWriter, _ []string) {
		_, _ = w.Write(whole[:1024])
		_, _ = io.WriteString(w, `{"errorDetail":{"message":"disk on fire"},"error":"disk on fire"}`+"\r\n")
	}
	_, err := tryPull(t, f.uri("app"), daemon.Config{}, pipeline.Query{})
	if err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("error is %v; want the daemon's words in it", err)
	}
}

// TestSourceLeavesNoTempFiles: whatever happens to an export, the folder for
// temporary files is empty after it.
func TestSourceLeavesNoTempFiles(t *testing.T) {
	t.Parallel()
	i := newImage(t, "amd64", newLayer(t, "a", true), newLayer(t, "b", true))
	whole := pack(t, saved24(t, i, "app:latest")...)
	for name, body := range map[string][]byte{"whole": whole, "cut": whole[:len(whole)/2], "no tar": []byte(strings.Repeat("x", 4096))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := start(t, new(fake)).holds(t, i, "app:latest", nil)
			f.archive = func(w http.ResponseWriter, _ []string) { _, _ = w.Write(body) }
			_, err := tryPull(t, f.uri("app"), daemon.Config{TempDir: dir}, pipeline.Query{})
			if (err == nil) != (name == "whole") {
				t.Errorf("error is %v", err)
			}
			left, err := os.ReadDir(dir)
			must(t, err)
			if len(left) > 0 {
				t.Errorf("%d temporary files are left, the first is %s", len(left), left[0].Name())
			}
		})
	}
}

// TestLargeLayerIsNotHeldInMemory: a layer of an export takes a few buffers,
// whatever its size. Not parallel: it counts what the process allocates.
func TestLargeLayerIsNotHeldInMemory(t *testing.T) {
	const size, bound = 64 << 20, 16 << 20
	big := pack(t, member{name: "etc/big", data: make([]byte, size)})
	i := newImage(t, "amd64", layer{plain: big, stored: big, diffID: digest.FromBytes(big), blob: describe(ocispec.MediaTypeImageLayer, big)})
	f := start(t, new(fake)).holds(t, i, "app:latest", saved24(t, i, "app:latest"))
	src, err := schemes(daemon.Config{TempDir: t.TempDir()}).Source(f.uri("app"))
	must(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx := context.Background()
	g, err := src.Open(ctx, pipeline.Query{})
	must(t, err)
	var read int64
	for l, err := range g.Layers(ctx) {
		must(t, err)
		rc, err := l.Open(ctx)
		must(t, err)
		n, err := io.Copy(io.Discard, rc)
		must(t, err)
		must(t, rc.Close())
		read += n
	}
	must(t, g.Close())
	runtime.ReadMemStats(&after)
	if read != int64(len(big)) {
		t.Errorf("read %d bytes of %d", read, len(big))
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > bound {
		t.Errorf("%d bytes were allocated for a layer of %d; want at most %d", used, size, bound)
	}
}
