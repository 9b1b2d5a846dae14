package daemon_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// graphDriver is an engine that knows layers by their chain IDs.
func graphDriver(t testing.TB) *fake { return start(t, &fake{api: "1.41"}) }

// layersOf are tars of one file each.
func layersOf(t testing.TB, contents ...string) (out [][]byte) {
	t.Helper()
	for _, c := range contents {
		out = append(out, pipelinetest.Tar(t, pipelinetest.File{Name: "etc/" + c, Body: c}))
	}
	return out
}

// stocked is a store with one image of such layers.
func stocked(t testing.TB, contents ...string) (*pipelinetest.Store, ocispec.Descriptor, []ocispec.Descriptor) {
	t.Helper()
	store := pipelinetest.NewStore()
	root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layersOf(t, contents...)})
	var m ocispec.Manifest
	decode(t, store.Bytes(root.Digest), &m)
	return store, root, m.Layers
}

// into runs a source into a fake.
func into(t testing.TB, f *fake, image string, src pipeline.Source, workers int, filters ...pipeline.Filter) (pipeline.Report, error) {
	t.Helper()
	sink, err := schemes(daemon.Config{TempDir: t.TempDir()}).Sink(f.uri(image))
	must(t, err)
	return pipeline.Run(t.Context(), src, filters, sink, pipeline.Options{Parallel: workers})
}

func (f *fake) lastLoad() []digest.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loads[len(f.loads)-1]
}

// TestGraphDriverGetsOnlyLayersItLacks: what it has is not in the archive, nor
// opened at the source.
func TestGraphDriverGetsOnlyLayersItLacks(t *testing.T) {
	t.Parallel()
	f := graphDriver(t)
	store, root, _ := stocked(t, "a", "b")
	_, err := into(t, f, "app:1", store.Source(root), 4)
	must(t, err)
	store, root, layers := stocked(t, "a", "b", "c")
	report, err := into(t, f, "other:2", store.Source(root), 4)
	must(t, err)
	if got := f.lastLoad(); !slices.Equal(got, []digest.Digest{layers[2].Digest}) {
		t.Errorf("the second archive has the layers %v, want the new one alone", got)
	}
	if store.Opened(layers[0].Digest)+store.Opened(layers[1].Digest) > 0 {
		t.Error("layers that the daemon has were opened")
	}
	if report.Read != layers[2].Size || report.Layers[0].How != pipeline.HowHeld {
		t.Errorf("the report says %d bytes read, %v", report.Read, report.Layers[0].How)
	}
	_, err = into(t, f, "again:3", store.Source(root), 4)
	must(t, err)
	if got := f.lastLoad(); len(got) > 0 {
		t.Errorf("an image that is there was sent with the layers %v", got)
	}
}

// TestOtherStoresGetEveryLayer: a containerd store would keep an image without
// its content, and Podman refuses it.
func TestOtherStoresGetEveryLayer(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*fake{"containerd store": {api: "1.51", indexes: true}, "Podman": {podman: true}} {
		start(t, f)
		store, root, layers := stocked(t, "a", "b")
		for _, image := range []string{"app:1", "app:2"} {
			_, err := into(t, f, image, store.Source(root), 4)
			must(t, err)
			if got := f.lastLoad(); len(got) != len(layers) {
				t.Errorf("%s: the archive of %s has %d layers, want %d", name, image, len(got), len(layers))
			}
		}
	}
}

// TestLayerUponOthersIsSent: the same layer upon other layers is another one to
// a graph driver.
func TestLayerUponOthersIsSent(t *testing.T) {
	t.Parallel()
	f := graphDriver(t)
	store, root, _ := stocked(t, "a", "b")
	_, err := into(t, f, "app:1", store.Source(root), 4)
	must(t, err)
	store, root, layers := stocked(t, "x", "b")
	_, err = into(t, f, "app:2", store.Source(root), 4)
	must(t, err)
	if got := f.lastLoad(); !slices.Equal(got, []digest.Digest{layers[0].Digest, layers[1].Digest}) {
		t.Errorf("the archive has %v, want both layers", got)
	}
}

// TestLayerAboveAChangedOneIsSent: a filter that changes a lower layer changes
// what those above stand upon, though they stay what they are and the daemon
// has them upon the old one.
func TestLayerAboveAChangedOneIsSent(t *testing.T) {
	t.Parallel()
	f := graphDriver(t)
	store, root, layers := stocked(t, "gone", "b")
	_, err := into(t, f, "app:1", store.Source(root), 4)
	must(t, err)
	exclude, err := filter.Kinds(filter.Defaults{}).New("exclude:pattern=etc/gone")
	must(t, err)
	_, err = into(t, f, "app:2", store.Source(root), 4, exclude)
	must(t, err)
	if got := f.lastLoad(); len(got) != 2 || got[1] != layers[1].Digest {
		t.Errorf("the archive has %v, want a new layer and %s", got, layers[1].Digest)
	}
}

// TestGraphDriverIsReportedByItsConfig: a manifest says how layers were sent, so
// it would depend on which were there.
func TestGraphDriverIsReportedByItsConfig(t *testing.T) {
	t.Parallel()
	f := graphDriver(t)
	store, root, _ := stocked(t, "a", "b")
	flatten, err := filter.Kinds(filter.Defaults{}).New("flatten")
	must(t, err)
	var first pipeline.RootReport
	for n, workers := range []int{1, 8, 8} {
		report, err := into(t, f, "app:1", store.Source(root), workers, flatten)
		must(t, err)
		got := report.Roots[0]
		if n == 0 {
			first = got
		}
		if got.Manifest.Digest != first.Manifest.Digest || got.Config != first.Config {
			t.Errorf("run %d is reported as %s, the first as %s", n, got.Manifest.Digest, first.Manifest.Digest)
		}
		if got.Manifest.Digest != got.Config || f.tags()["docker.io/library/app:1"] != got.Config.String() {
			t.Errorf("run %d is reported as %s, the daemon has %v", n, got.Manifest.Digest, f.tags())
		}
	}
}

// TestVanishedLayersAreSentAfterAll: the daemon may lose what it had when the
// run began; the image is then loaded whole, also where a filter made some of
// it.
func TestVanishedLayersAreSentAfterAll(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{"as they came": nil, "one changed": {"exclude:pattern=etc/gone"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := graphDriver(t)
			store, root, _ := stocked(t, "a")
			_, err := into(t, f, "app:1", store.Source(root), 4)
			must(t, err)
			f.before = func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.images, f.before = nil, nil
			}
			store, root, _ = stocked(t, "a", "gone", "c")
			var chain []pipeline.Filter
			for _, spec := range filters {
				one, err := filter.Kinds(filter.Defaults{}).New(spec)
				must(t, err)
				chain = append(chain, one)
			}
			report, err := into(t, f, "app:2", store.Source(root), 4, chain...)
			must(t, err)
			if got := f.lastLoad(); len(got) != 3 {
				t.Errorf("the last archive has %v, want three layers", got)
			}
			if f.tags()["docker.io/library/app:2"] != report.Roots[0].Config.String() {
				t.Errorf("names in the daemon: %v", f.tags())
			}
		})
	}
}

// TestRefusedLoadIsNotRepeated: where nothing has vanished, once is enough.
func TestRefusedLoadIsNotRepeated(t *testing.T) {
	t.Parallel()
	f := graphDriver(t)
	store, root, _ := stocked(t, "a")
	_, err := into(t, f, "app:1", store.Source(root), 4)
	must(t, err)
	f.mu.Lock()
	f.loads, f.spoil = nil, func(h *held) { h.ID = digest.FromString("another").String() }
	f.mu.Unlock()
	store, root, _ = stocked(t, "a", "b")
	_, err = into(t, f, "app:2", store.Source(root), 4)
	if err == nil || !strings.Contains(err.Error(), "look for the loaded image") {
		t.Errorf("error is %v; want that the image is not there", err)
	}
	if len(f.loads) != 1 {
		t.Errorf("%d loads, want one", len(f.loads))
	}
}

// TestInventoryOfAGraphDriverIsItsChains: and an archive without them is applied
// where they are, and nowhere else.
func TestInventoryOfAGraphDriverIsItsChains(t *testing.T) {
	t.Parallel()
	f := graphDriver(t)
	store, root, _ := stocked(t, "a", "b")
	_, err := into(t, f, "app:1", store.Source(root), 4)
	must(t, err)
	place, err := schemes(daemon.Config{}).Inventor(f.uri(""))
	must(t, err)
	chains := map[digest.Digest]digest.Digest{}
	for h, err := range place.Holdings(t.Context(), pipeline.Limits{}) {
		must(t, err)
		chains[h.ChainID] = h.DiffID
	}
	var diffIDs []digest.Digest
	for _, l := range layersOf(t, "a", "b") {
		diffIDs = append(diffIDs, digest.FromBytes(l))
	}
	for i, chain := range pipeline.ChainIDs(diffIDs) {
		if chains[chain] != diffIDs[i] {
			t.Errorf("layer %d is not among %v", i, chains)
		}
	}
}
