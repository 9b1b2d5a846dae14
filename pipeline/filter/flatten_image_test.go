package filter_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// flattenWith runs an image through filters, in which FILE stands for a file, and
// returns the manifest and config that are published.
func flattenWith(t *testing.T, src pipeline.Source, sink *pipelinetest.Sink, o pipeline.Options, d filter.Defaults, specs ...string) (pipeline.Report, ocispec.Manifest, ocispec.Image) {
	t.Helper()
	d.TempDir, o.TempDir = t.TempDir(), t.TempDir()
	var fs []pipeline.Filter
	for _, s := range specs {
		fs = append(fs, newFilter(t, d, s))
	}
	report, err := pipeline.Run(t.Context(), src, fs, sink, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{d.TempDir, o.TempDir} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("temporary files left behind: %v (%v)", left, err)
		}
	}
	var m ocispec.Manifest
	var config ocispec.Image
	if err := json.Unmarshal(sink.Published[0].Raw, &m); err != nil {
		t.Fatal(err)
	}
	if raw := sink.Published[0].Config; raw != nil {
		if err := json.Unmarshal(raw, &config); err != nil {
			t.Fatal(err)
		}
	}
	return report, m, config
}

func TestFlattenBringsConfigAndManifestUpToDate(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	notes := map[string]string{"org.example": "kept"}
	img := built(t, store, notes, distro, command, install, "ENV A=1", app, `ENTRYPOINT ["x"]`)
	base := built(t, store, nil, distro, command)
	for _, c := range []struct {
		spec    string
		layers  int
		history []string
	}{
		{"flatten", 1, []string{command, "ENV A=1", "occystrap flatten # 3 layers", `ENTRYPOINT ["x"]`}},
		{"flatten:base=base", 2, []string{distro, command, "ENV A=1", "occystrap flatten # 2 layers", `ENTRYPOINT ["x"]`}},
		{"flatten:base=auto", 2, []string{distro, command, "ENV A=1", "occystrap flatten # 2 layers", `ENTRYPOINT ["x"]`}},
	} {
		sink := pipelinetest.NewSink()
		d := filter.Defaults{Images: otherImages{"base": base}.open(store)}
		report, m, config := flattenWith(t, store.Source(img, "app:1"), sink, pipeline.Options{}, d, c.spec)
		var history []string
		for _, h := range config.History {
			history = append(history, h.CreatedBy)
			if strings.HasPrefix(h.CreatedBy, "occystrap") && h.Created.Day() != 5 {
				t.Errorf("%s: the new layer was made on %s", c.spec, h.Created)
			}
		}
		if diff := cmp.Diff(c.history, history); diff != "" {
			t.Errorf("%s: history (-want +got):\n%s", c.spec, diff)
		}
		if len(m.Layers) != c.layers || len(config.RootFS.DiffIDs) != c.layers || !cmp.Equal(m.Annotations, notes) {
			t.Errorf("%s: %d layers, %d diff IDs, annotations %v", c.spec, len(m.Layers), len(config.RootFS.DiffIDs), m.Annotations)
		}
		// As the layers were stored before, so the new one is.
		if last := m.Layers[len(m.Layers)-1]; last.MediaType != ocispec.MediaTypeImageLayerGzip {
			t.Errorf("%s: the new layer is %s", c.spec, last.MediaType)
		}
		if root := report.Roots[0]; root.Source != img.Digest || root.Manifest.Digest == img.Digest {
			t.Errorf("%s: the report says %s became %s", c.spec, root.Source, root.Manifest.Digest)
		}
	}
}

// An image that has nothing to merge keeps every byte.
func TestFlattenLeavesImagesOfOneLayer(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	low, high := tarOf(t, file("low", "")), tarOf(t, file(".wh.low", ""), file("high", ""))
	base := store.Image(t, pipelinetest.Image{Layers: [][]byte{low}})
	for name, c := range map[string]struct {
		spec   string
		layers [][]byte
		stays  bool
	}{
		"one":                       {"flatten", [][]byte{low}, true},
		"none":                      {"flatten", nil, true},
		"one with a whiteout":       {"flatten", [][]byte{high}, false},
		"the base":                  {"flatten:base=base", [][]byte{low}, true},
		"one above the base":        {"flatten:base=base", [][]byte{low, high}, true},
		"two above the base":        {"flatten:base=base", [][]byte{low, high, low}, false},
		"two, without a base":       {"flatten", [][]byte{low, high}, false},
		"an attested image of one ": {"flatten", [][]byte{low}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := store.Image(t, pipelinetest.Image{Layers: c.layers, Annotations: map[string]string{"name": name}})
			sink := pipelinetest.NewSink()
			d := filter.Defaults{Images: otherImages{"base": base}.open(store)}
			flattenWith(t, store.Source(store.Index(t, img, store.Attestation(t, img.Digest)), "app:1"), sink, pipeline.Options{}, d, c.spec)
			if stays := sink.Committed[0].Desc.Digest == img.Digest; stays != c.stays || stays != (len(sink.Committed) == 3) {
				t.Errorf("it stays: %t, with %d manifests", stays, len(sink.Committed))
			}
		})
	}
}

// Each image of an index is flattened, the attestations go as those of any image
// that changes, and the same comes out for any parallelism.
func TestFlattenedIndex(t *testing.T) {
	t.Parallel()
	digests := map[digest.Digest]bool{}
	for _, parallel := range []int{1, 2, 8} {
		store := pipelinetest.NewStore()
		var entries []ocispec.Descriptor
		for _, p := range []string{"linux/amd64", "linux/arm64"} {
			img := store.Image(t, pipelinetest.Image{Platform: p, Compression: pipeline.Zstd, Layers: [][]byte{
				tarOf(t, file("shared", "of both")), tarOf(t, file("own", p)), tarOf(t, file("shared", "again")),
			}})
			entries = append(entries, img, store.Attestation(t, img.Digest))
		}
		sink := pipelinetest.NewSink()
		report, _, _ := flattenWith(t, store.Source(store.Index(t, entries...), "app:1"), sink, pipeline.Options{Parallel: parallel}, filter.Defaults{}, "flatten")
		digests[sink.Published[0].Desc.Digest] = true
		if len(sink.Committed) != 3 || len(report.Dropped) != 2 {
			t.Errorf("%d manifests, left out %v", len(sink.Committed), report.Dropped)
		}
		for _, l := range report.Layers {
			if plain := plainTar(t, sink.Store.Bytes(l.Result.Digest)); digest.FromBytes(plain) != l.ResultDiffID {
				t.Errorf("a layer is not %s", l.ResultDiffID)
			}
		}
	}
	if len(digests) != 1 {
		t.Errorf("there are %d results", len(digests))
	}
}

// Filters before flatten see the image as it was and change what is merged; those
// behind it see one layer.
func TestFiltersStandBeforeAndBehindFlatten(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	img := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{
		tarOf(t, file("a", "1"), file("secret", "x")), tarOf(t, file("b", "2")), tarOf(t, file("a", "3")),
	}})
	before, behind := filepath.Join(t.TempDir(), "1"), filepath.Join(t.TempDir(), "2")
	sink := pipelinetest.NewSink()
	o := pipeline.Options{Provenance: pipeline.Provenance{Mode: pipeline.ProvenanceAnnotation}}
	report, m, config := flattenWith(t, store.Source(img, "app:1"), sink, o, filter.Defaults{},
		"inspect:file="+before, "exclude:pattern=secret", "flatten", "normalize-timestamps:ts=5", "recompress:zstd", "inspect:file="+behind)
	plain := plainTar(t, sink.Store.Bytes(m.Layers[0].Digest))
	wantList(t, plain, "b=2", "a=3")
	for file, want := range map[string]int{before: 3, behind: 1} {
		b, err := os.ReadFile(file)
		if got := bytes.Count(b, []byte(`"Id"`)); err != nil || got != want {
			t.Errorf("inspect saw %d layers, %v, want %d", got, err, want)
		}
	}
	if len(config.RootFS.DiffIDs) != 1 || config.RootFS.DiffIDs[0] != digest.FromBytes(plain) || m.Layers[0].MediaType != ocispec.MediaTypeImageLayerZstd {
		t.Errorf("layer %s has the diff IDs %v", m.Layers[0].MediaType, config.RootFS.DiffIDs)
	}
	if report.Roots[0].Source != img.Digest || m.Annotations[pipeline.AnnotationSource] != img.Digest.String() || len(report.Layers) != 4 {
		t.Errorf("the report has %d layers, and %s as the source", len(report.Layers), report.Roots[0].Source)
	}
	h := headers(t, plain)
	if h[0].ModTime.Unix() != 5 {
		t.Errorf("the time is %s", h[0].ModTime)
	}
}

// To flatten twice is to flatten once.
func TestFlattenTwice(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	img := store.Image(t, pipelinetest.Image{Layers: [][]byte{tarOf(t, file("a", "1")), tarOf(t, file("b", "2"))}})
	var results []digest.Digest
	for _, specs := range [][]string{{"flatten"}, {"flatten", "flatten"}} {
		sink := pipelinetest.NewSink()
		report, _, _ := flattenWith(t, store.Source(img, "app:1"), sink, pipeline.Options{}, filter.Defaults{}, specs...)
		results = append(results, report.Roots[0].Manifest.Digest)
		if report.Roots[0].Source != img.Digest {
			t.Errorf("the source is %s", report.Roots[0].Source)
		}
	}
	if results[0] != results[1] {
		t.Errorf("once %s, twice %s", results[0], results[1])
	}
}

// The base that flatten keeps is the one that normalize-timestamps then leaves.
func TestNormalizeAboveTheBaseBehindFlatten(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	base := built(t, store, nil, distro, command)
	img := built(t, store, nil, distro, command, install, app)
	d := filter.Defaults{Images: otherImages{"base": base}.open(store)}
	report, m, config := flattenWith(t, store.Source(img, "app:1"), pipelinetest.NewSink(), pipeline.Options{}, d, "flatten:base=base", "normalize-timestamps:base=base,config=true")
	if len(m.Layers) != 2 || report.Layers[0].SourceDiffID != report.Layers[0].ResultDiffID || config.History[0].Created.Year() != 2024 || config.History[2].Created.Year() != 1970 {
		t.Errorf("layers %+v, history %+v", report.Layers, config.History)
	}
}

func TestFlattenNeedsEveryLayer(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	img := store.Image(t, pipelinetest.Image{Layers: [][]byte{tarOf(t, file("a", "1")), tarOf(t, file("b", "2"))}})
	var m ocispec.Manifest
	if err := json.Unmarshal(store.Bytes(img.Digest), &m); err != nil {
		t.Fatal(err)
	}
	foreign, encrypted, lying := m, m, m
	foreign.Layers = []ocispec.Descriptor{m.Layers[0], m.Layers[1]}
	foreign.Layers[0].URLs = []string{"https://example.com/layer"}
	encrypted.Layers = []ocispec.Descriptor{m.Layers[0], m.Layers[1]}
	encrypted.Layers[1].MediaType += "+encrypted"
	lying.Layers = []ocispec.Descriptor{m.Layers[0], store.Put(ocispec.MediaTypeImageLayer, tarOf(t, file("c", "")))}
	for want, m := range map[string]ocispec.Manifest{
		"kept elsewhere by its URLs, so it cannot be merged with others; bring it along with --foreign=fetch": foreign,
		"cannot be looked into": encrypted,
		"source: layer " + lying.Layers[1].Digest.String() + ": diff ID of its plain tar: digest mismatch": lying,
	} {
		desc := store.PutJSON(t, ocispec.MediaTypeImageManifest, m)
		sink := pipelinetest.NewSink()
		temp := t.TempDir()
		_, err := pipeline.Run(t.Context(), store.Source(desc, "app:1"), []pipeline.Filter{newFilter(t, filter.Defaults{TempDir: temp}, "flatten")}, sink, pipeline.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || len(sink.Published) > 0 {
			t.Errorf("%v, want %s", err, want)
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("temporary files left behind: %v (%v)", left, err)
		}
	}
}

// A name of 4 KiB may lead through 2000 directories that no entry names: they
// count as entries do.
func TestFlattenBoundsDirectoriesThatNoEntryNames(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("d/", 300) + "f"
	layers := [][]byte{tarOf(t, file(deep, "")), tarOf(t, file("a", ""))}
	for entries, fits := range map[int64]bool{100: false, 1000: true} {
		_, err := flattened(t, layers, 0, pipeline.Options{Query: pipeline.Query{Limits: pipeline.Limits{Entries: entries}}})
		if fits != (err == nil) || err != nil && !errors.Is(err, pipeline.ErrLimit) {
			t.Errorf("with %d entries: %v", entries, err)
		}
	}
}

// plainTar is a stored layer, decompressed.
func plainTar(t testing.TB, stored []byte) []byte {
	t.Helper()
	r, _, err := codec.NewReader(bytes.NewReader(stored))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
