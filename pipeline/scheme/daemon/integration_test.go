//go:build integration

package daemon_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// engines are the real daemons of the test environment.
var engines = []struct {
	name, key string
	indexes   bool // it holds indexes and keeps manifests
}{
	{"docker20", "OCCYSTRAP_TEST_DOCKER20", false},
	{"docker29", "OCCYSTRAP_TEST_DOCKER29", true},
	{"docker29-overlay2", "OCCYSTRAP_TEST_DOCKER29_OVERLAY2", false},
	{"podman", "OCCYSTRAP_TEST_PODMAN", false},
}

// A real is a daemon with an image name of its own for one test.
type real struct {
	*client.Client
	host, name string
	indexes    bool
}

func (r *real) uri(name string) string { return "docker://" + name + "?socket=" + r.host }

// holds says which image has the name; "" for none.
func (r *real) holds(t testing.TB, name string) string {
	t.Helper()
	found, err := r.ImageInspect(context.Background(), name)
	if errdefs.IsNotFound(err) {
		return ""
	}
	must(t, err)
	return found.ID
}

// forget removes an image when the test ends, if it is there then.
func (r *real) forget(t testing.TB, name string) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.Background()
		if _, err := r.ImageInspect(ctx, name); err != nil {
			return
		}
		_, err := r.ImageRemove(ctx, name, client.ImageRemoveOptions{Force: true, PruneChildren: true})
		must(t, err)
	})
}

// images lists all IDs in the daemon.
func (r *real) images(t testing.TB) (ids []string) {
	t.Helper()
	list, err := r.ImageList(context.Background(), client.ImageListOptions{All: true})
	must(t, err)
	for _, i := range list.Items {
		ids = append(ids, i.ID)
	}
	return ids
}

// onEach runs a test against every real daemon.
func onEach(t *testing.T, test func(t *testing.T, r *real)) {
	t.Helper()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			r := &real{host: pipelinetest.Env(t, e.key), indexes: e.indexes}
			r.name = "occystrap.test/" + strings.ToLower(rand.Text()) + ":1"
			cli, err := client.New(client.WithHost(r.host))
			must(t, err)
			r.Client = cli
			t.Cleanup(func() { must(t, cli.Close()) })
			r.forget(t, r.name)
			test(t, r)
		})
	}
}

// unique is a layer that no other test has.
func unique(t testing.TB) []byte {
	t.Helper()
	return pipelinetest.Tar(t, pipelinetest.File{Name: "etc/"}, pipelinetest.File{Name: "etc/unique", Body: rand.Text()})
}

func run(t testing.TB, src pipeline.Source, to string) ([]string, error) {
	t.Helper()
	var mu sync.Mutex
	var warnings []string
	events := func(e pipeline.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == pipeline.EventWarning {
			warnings = append(warnings, e.Message)
		}
	}
	sink, err := schemes(daemon.Config{TempDir: t.TempDir(), Events: events}).Sink(to)
	must(t, err)
	_, err = pipeline.Run(context.Background(), src, nil, sink, pipeline.Options{Query: pipeline.Query{Events: events}})
	return warnings, err
}

// TestRealRoundTrip: an image that goes in comes out with its diff IDs, its
// config and, where the store keeps it, its manifest, under the name asked for.
// Gzip, zstd and plain layers, Docker's types and OCI's.
func TestRealRoundTrip(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		for _, c := range []pipeline.Compression{pipeline.Plain, pipeline.Gzip, pipeline.Zstd} {
			store := pipelinetest.NewStore()
			twice := unique(t)
			i := pipelinetest.Image{Compression: c, Layers: [][]byte{twice, unique(t), twice}, Docker: c == pipeline.Gzip}
			desc := store.Image(t, i)
			name := strings.TrimSuffix(r.name, ":1") + ":" + string(c)
			r.forget(t, name)
			_, err := run(t, store.Source(desc), r.uri(name))
			must(t, err)
			if c == pipeline.Zstd && strings.HasSuffix(t.Name(), "/podman") {
				continue // Podman runs the image, and cannot export it (4.3.1)
			}
			got := pull(t, r.uri(name), daemon.Config{TempDir: t.TempDir()}, pipeline.Query{})
			if len(got.manifests) != 1 {
				t.Fatalf("%s: got %d manifests, want 1", c, len(got.manifests))
			}
			m := got.manifests[0]
			if r.indexes && m.Desc.Digest != desc.Digest {
				t.Errorf("%s: manifest %s, want %s", c, m.Desc.Digest, desc.Digest)
			}
			var was ocispec.Manifest
			decode(t, store.Bytes(desc.Digest), &was)
			if d := digest.FromBytes(m.Config); d != was.Config.Digest {
				t.Errorf("%s: config %s, want %s", c, d, was.Config.Digest)
			}
			if diff := cmp.Diff([]string{name}, m.Names); diff != "" {
				t.Errorf("%s: names (-want +got):\n%s", c, diff)
			}
		}
	})
}

// TestRealConformance: the suite of all sources and sinks, on real stores.
func TestRealConformance(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		if strings.HasSuffix(t.Name(), "/podman") {
			t.Skip("Podman 4.3.1 cannot export an image with zstd layers")
		}
		pipelinetest.TestEnd(t, pipelinetest.End{
			OwnManifests: !r.indexes,
			OneImage:     !r.indexes,
			Sink: func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
				name := "occystrap.test/" + strings.ToLower(rand.Text()) + ":1"
				r.forget(t, name)
				return bothEnds(t, r.uri(name))
			},
		})
	})
}

// TestRealAbortLeavesNothing: a source that fails half way cuts the load; the
// daemon has no image more than before, and the name none.
func TestRealAbortLeavesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		store := pipelinetest.NewStore()
		good, bad := unique(t), unique(t)
		desc := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{good, bad}})
		var m ocispec.Manifest
		decode(t, store.Bytes(desc.Digest), &m)
		store.Corrupt(m.Layers[1].Digest, []byte("not the layer"))
		_, err := run(t, store.Source(desc), r.uri(r.name))
		if err == nil {
			t.Fatal("the run was a success")
		}
		if id := r.holds(t, r.name); id != "" {
			t.Errorf("the name is that of %s", id)
		}
		for _, id := range []string{m.Config.Digest.String(), desc.Digest.String()} {
			if r.holds(t, id) != "" {
				t.Errorf("the daemon holds %s", id)
			}
		}
	})
}

// TestRealFailedLoadKeepsTheOldImage: a name keeps its image until a new one is
// whole: all bytes are there, but a layer is no tar, or not the one that the
// config promises.
func TestRealFailedLoadKeepsTheOldImage(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		store := pipelinetest.NewStore()
		_, err := run(t, store.Source(store.Image(t, pipelinetest.Image{Layers: [][]byte{unique(t)}})), r.uri(r.name))
		must(t, err)
		was := r.holds(t, r.name)
		noTar := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{[]byte(strings.Repeat(rand.Text(), 100))}})
		broken := map[string]ocispec.Descriptor{"no tar": noTar}
		if !strings.HasSuffix(t.Name(), "/podman") { // it believes configs, as its own pull does
			broken["lie"] = lyingImage(t, store)
		}
		for name, desc := range broken {
			if _, err := run(t, store.Source(desc), r.uri(r.name)); err == nil {
				t.Errorf("%s: it was loaded", name)
			}
			if now := r.holds(t, r.name); now != was || was == "" {
				t.Errorf("%s: the name is that of %q, want the old %q", name, now, was)
			}
			if slices.Contains(r.images(t), desc.Digest.String()) {
				t.Errorf("%s: the daemon holds the broken image %s", name, desc.Digest)
			}
		}
	})
}

// lyingImage is one whose diff ID is not that of its layer.
func lyingImage(t testing.TB, store *pipelinetest.Store) ocispec.Descriptor {
	t.Helper()
	desc := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{unique(t)}})
	var m ocispec.Manifest
	decode(t, store.Bytes(desc.Digest), &m)
	var config ocispec.Image
	decode(t, store.Bytes(m.Config.Digest), &config)
	config.RootFS.DiffIDs[0] = digest.FromString(rand.Text())
	m.Config = store.PutJSON(t, m.Config.MediaType, config)
	lie := store.PutJSON(t, desc.MediaType, m)
	lie.Platform = desc.Platform
	return lie
}

// TestRealIndex: an index with an attestation goes whole into the containerd
// store and comes out with its digest; other stores get the image they can run.
func TestRealIndex(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		store := pipelinetest.NewStore()
		arm := store.Image(t, pipelinetest.Image{Platform: "linux/arm64", Compression: pipeline.Gzip, Layers: [][]byte{unique(t)}})
		amd := store.Image(t, pipelinetest.Image{Platform: "linux/amd64", Compression: pipeline.Gzip, Layers: [][]byte{unique(t)}})
		index := store.Index(t, arm, amd, store.Attestation(t, amd.Digest))
		warnings, err := run(t, store.Source(index), r.uri(r.name))
		must(t, err)
		got := pull(t, r.uri(r.name), daemon.Config{TempDir: t.TempDir()}, pipeline.Query{})
		root := got.manifests[len(got.manifests)-1]
		if r.indexes {
			if root.Desc.Digest != index.Digest || len(got.manifests) != 4 || len(warnings) > 0 {
				t.Errorf("root %s of %d manifests, warnings %q; want the whole index %s", root.Desc.Digest, len(got.manifests), warnings, index.Digest)
			}
			onlyArm(t, r, arm.Digest)
			return
		}
		var config ocispec.Image
		decode(t, root.Config, &config)
		if config.Architecture != "amd64" || !strings.Contains(strings.Join(warnings, "\n"), "linux/amd64") {
			t.Errorf("got %s, warnings %q; want amd64, and a word about it", config.Architecture, warnings)
		}
	})
}

// onlyArm takes one platform out of an index.
func onlyArm(t testing.TB, r *real, want digest.Digest) {
	t.Helper()
	p, err := pipeline.ParsePlatform("linux/arm64")
	must(t, err)
	q := pipeline.Query{Platforms: pipeline.Platforms{Want: []ocispec.Platform{p}}}
	got := pull(t, r.uri(r.name), daemon.Config{TempDir: t.TempDir()}, q)
	if len(got.manifests) != 1 || got.manifests[0].Desc.Digest != want || len(got.layers) != 1 {
		t.Errorf("%d manifests, %d layers; want the image %s alone", len(got.manifests), len(got.layers), want)
	}
}

// TestRealImageOfAnotherPlatform: a single image is taken whatever it is for.
func TestRealImageOfAnotherPlatform(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		store := pipelinetest.NewStore()
		arm := store.Image(t, pipelinetest.Image{Platform: "linux/arm64", Compression: pipeline.Gzip, Layers: [][]byte{unique(t)}})
		_, err := run(t, store.Source(arm), r.uri(r.name))
		must(t, err)
		got := pull(t, r.uri(r.name), daemon.Config{TempDir: t.TempDir()}, pipeline.Query{})
		if len(got.manifests) != 1 || len(got.layers) != 1 {
			t.Errorf("got %d manifests and %d layers", len(got.manifests), len(got.layers))
		}
	})
}

// TestRealSeveralImages: two images go in under their own names, one of them
// under two, and out in one run.
func TestRealSeveralImages(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		store := pipelinetest.NewStore()
		shared := unique(t)
		repo := strings.TrimSuffix(r.name, ":1")
		one := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{shared}})
		two := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{shared, unique(t)}})
		src := &pipelinetest.Source{Store: store, Roots: []pipeline.Root{
			{Desc: one, Names: []string{r.name, repo + ":one"}}, {Desc: two, Names: []string{repo + ":2"}},
		}}
		r.forget(t, repo+":one")
		r.forget(t, repo+":2")
		_, err := run(t, src, r.uri(""))
		must(t, err)
		if a, b := r.holds(t, r.name), r.holds(t, repo+":one"); a != b || a == "" {
			t.Errorf("the names of one image are those of %q and %q", a, b)
		}
		got := pull(t, r.uri(r.name)+"&also="+repo+":2", daemon.Config{TempDir: t.TempDir()}, pipeline.Query{})
		var names []string
		for _, m := range got.manifests {
			names = append(names, m.Names...)
		}
		slices.Sort(names)
		if diff := cmp.Diff([]string{r.name, repo + ":2"}, names); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
	})
}

// TestRealIncompleteImageIsAnError: the containerd store takes an archive that
// lacks a layer, and exports it without a word; our source does not.
func TestRealIncompleteImageIsAnError(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		if !r.indexes {
			t.Skip("this store takes no incomplete image")
		}
		i := newImage(t, "amd64", newLayer(t, rand.Text(), true), newLayer(t, rand.Text(), true))
		members := slices.DeleteFunc(savedContainerd(t, i), func(m member) bool { return m.name == blob(i.layers[1].stored).name })
		ctx := context.Background()
		answer, err := r.ImageLoad(ctx, bytes.NewReader(pack(t, members...)))
		must(t, err)
		_, err = io.Copy(io.Discard, answer)
		must(t, errors.Join(err, answer.Close()))
		_, err = r.ImageTag(ctx, client.ImageTagOptions{Source: i.desc.Digest.String(), Target: r.name})
		must(t, err)
		if _, err := tryPull(t, r.uri(r.name), daemon.Config{TempDir: t.TempDir()}, pipeline.Query{}); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("error is %v; want not found", err)
		}
	})
}

// TestRealZstdFromTheStore: zstd layers that one daemon exports arrive in every
// other, also in one that cannot read zstd.
func TestRealZstdFromTheStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		from := "docker://" + r.name + "?socket=" + pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER29")
		cli, err := client.New(client.WithHost(pipelinetest.Env(t, "OCCYSTRAP_TEST_DOCKER29")))
		must(t, err)
		t.Cleanup(func() { must(t, cli.Close()) })
		(&real{Client: cli}).forget(t, r.name)
		store := pipelinetest.NewStore()
		desc := store.Image(t, pipelinetest.Image{Compression: pipeline.Zstd, Layers: [][]byte{unique(t), unique(t)}})
		_, err = run(t, store.Source(desc), from)
		must(t, err)
		src, err := schemes(daemon.Config{TempDir: t.TempDir()}).Source(from)
		must(t, err)
		name := strings.TrimSuffix(r.name, ":1") + ":copy"
		r.forget(t, name)
		_, err = run(t, src, r.uri(name)) // checks the diff IDs
		must(t, err)
	})
}

// TestRealMissingImage: every daemon's "not there" is ErrNotFound.
func TestRealMissingImage(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		_, err := tryPull(t, r.uri(r.name), daemon.Config{}, pipeline.Query{})
		if !errors.Is(err, pipeline.ErrNotFound) || !strings.Contains(err.Error(), r.name) {
			t.Errorf("error is %v; want not found with the name", err)
		}
	})
}

// TestRealImageByID: a whole and a short ID find the image on every daemon.
func TestRealImageByID(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, r *real) {
		store := pipelinetest.NewStore()
		_, err := run(t, store.Source(store.Image(t, pipelinetest.Image{Layers: [][]byte{unique(t)}})), r.uri(r.name))
		must(t, err)
		id := strings.TrimPrefix(r.holds(t, r.name), "sha256:")
		for _, ask := range []string{"sha256:" + id, id, id[:12]} {
			got := pull(t, r.uri(ask), daemon.Config{TempDir: t.TempDir()}, pipeline.Query{})
			if len(got.manifests) != 1 || len(got.manifests[0].Names) > 0 {
				t.Errorf("%s: %d manifests, names %v; want 1 without a name", ask, len(got.manifests), got.manifests[0].Names)
			}
		}
	})
}
