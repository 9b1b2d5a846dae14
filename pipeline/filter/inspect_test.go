package filter_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// inspected runs an image through filters, in which FILE stands for a file, and
// returns what the file then holds.
func inspected(t *testing.T, src pipeline.Source, dst *pipelinetest.Sink, specs ...string) (lines []string, report pipeline.Report) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "layers.jsonl")
	var steps []step
	for _, s := range specs {
		steps = append(steps, step{strings.ReplaceAll(s, "FILE", file), &searched{}})
	}
	report = process(t, src, dst, steps...)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n"), report
}

func clock(s string) *time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return &t
}

// The line is that of the original, byte for byte: newest layer first, tags on
// top only, entries without a layer left out of the history.
func TestInspectWritesTheLineOfTheOriginal(t *testing.T) {
	t.Parallel()
	low, high := tarOf(t, file("low", "content")), tarOf(t, file("high", ""))
	store := pipelinetest.NewStore()
	root := store.Image(t, pipelinetest.Image{Layers: [][]byte{low, high}, History: []ocispec.History{
		{CreatedBy: "ADD \"é\" <&>\t\U0001F433", Created: clock("2020-01-02T03:04:05.999999999Z"), Comment: "buildkit"},
		{CreatedBy: "ENV x", EmptyLayer: true, Created: clock("2021-01-02T03:04:05Z")},
		{Created: clock("2020-01-02T05:04:06+02:00")},
	}})
	lines, report := inspected(t, store.Source(root, "docker.io/library/app:1"), pipelinetest.NewSink(), "inspect:file=FILE")
	want := []string{`{"layers": [` +
		`{"Comment": "", "Created": 1577934246, "CreatedBy": "", "Id": "` + digest.FromBytes(high).String() + `", "Size": 1536, "Tags": ["docker.io/library/app:1"]}, ` +
		`{"Comment": "buildkit", "Created": 1577934245, "CreatedBy": "ADD \"\u00e9\" <&>\t\ud83d\udc33", "Id": "` + digest.FromBytes(low).String() + `", "Size": 2048, "Tags": null}` +
		`], "name": "docker.io/library/app:1"}`}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if report.Roots[0].Source != report.Roots[0].Manifest.Digest {
		t.Error("to look at it has changed the image")
	}
}

// Before a filter that changes a layer it has the name that it came with, after
// it the digest of the tar that came out; to know costs no compression anew.
func TestInspectTellsLayersAsTheyAreAtItsPlace(t *testing.T) {
	t.Parallel()
	layers := [][]byte{tarOf(t, file("a", strings.Repeat("x", 5000)), file("b", "")), tarOf(t, file("c", ""))}
	src, dst := imageOf(t, layers...), pipelinetest.NewSink()
	lines, report := inspected(t, src, dst, "inspect:file=FILE", "exclude:pattern=a", "inspect:file=FILE", "search:pattern=*")
	if len(lines) != 2 {
		t.Fatalf("%d lines", len(lines))
	}
	l := report.Layers
	if l[0].How != pipeline.HowTranscoded || l[1].How != pipeline.HowCopied {
		t.Errorf("layers were %s and %s", l[0].How, l[1].How)
	}
	for i, want := range []string{
		`"Id": "` + l[0].Source.Digest.String() + `", "Size": 7168, `,
		`"Id": "` + l[0].ResultDiffID.String() + `", "Size": 1536, `,
	} {
		same := `"Id": "` + l[1].Source.Digest.String() + `", "Size": 1536, `
		if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], same) {
			t.Errorf("line %d is %s", i, lines[i])
		}
	}
	between, report := inspected(t, src, dst, "exclude:pattern=b", "inspect:file=FILE", "normalize-timestamps:ts=5")
	out := apply(t, nil, layers[0], "exclude:pattern=b").tar
	if want := `"Id": "` + digest.FromBytes(out).String() + `", "Size": 6656, `; !strings.Contains(between[0], want) {
		t.Errorf("between two filters it is %s, want %s", between[0], want)
	}
	if how := report.Layers[0].How; how != pipeline.HowRewritten {
		t.Errorf("the layer was %s", how)
	}
}

// Every image of an index has a line, and those of the same name are told apart;
// the history is that of the config where the filter stands.
func TestInspectTellsTheImagesOfAnIndexApart(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	made := []ocispec.History{{Created: clock("2024-01-01T00:00:00Z")}}
	amd := store.Image(t, pipelinetest.Image{Layers: [][]byte{tarOf(t, file("a", ""))}, History: made})
	arm := store.Image(t, pipelinetest.Image{Platform: "linux/arm64/v8", Layers: [][]byte{tarOf(t, file("b", ""))}, History: made})
	src := store.Source(store.Index(t, amd, arm, store.Attestation(t, amd.Digest)), "example.com/app:1")
	lines, _ := inspected(t, src, pipelinetest.NewSink(), "normalize-timestamps:ts=7,config=true", "inspect:file=FILE")
	if len(lines) != 2 || !strings.Contains(lines[0], `, "platform": "linux/amd64"}`) || !strings.Contains(lines[1], `, "platform": "linux/arm64/v8"}`) {
		t.Fatalf("lines are %q", lines)
	}
	if !strings.Contains(lines[0], `"Created": 7,`) {
		t.Errorf("the history is not that of its place: %s", lines[0])
	}
}

func TestInspectReadsOddHistories(t *testing.T) {
	t.Parallel()
	for history, want := range map[string]string{
		`[{"created":1577934246.9}]`:                     `"Created": 1577934246, "CreatedBy": ""`,
		`[{"created":"2020-01-02T03:04:06"}]`:            `"Created": 1577934246, `,
		`[{"created":"yesterday","created_by":["RUN"]}]`: `"Created": 0, "CreatedBy": ""`,
		`"none"`: `"Created": 0, "CreatedBy": ""`,
		`[{"empty_layer":true,"comment":"x"},{"comment":"\n"}]`: `"Comment": "\n", `,
		`[]`: `"Comment": "", `,
	} {
		layer := tarOf(t, file("a", ""))
		store := pipelinetest.NewStore()
		blob := store.Put(ocispec.MediaTypeImageLayer, layer)
		config := store.Put(ocispec.MediaTypeImageConfig, []byte(`{"rootfs":{"type":"layers","diff_ids":["`+blob.Digest.String()+`"]},"history":`+history+`}`))
		root := store.PutJSON(t, ocispec.MediaTypeImageManifest, map[string]any{
			"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "config": config, "layers": []any{blob},
		})
		lines, _ := inspected(t, store.Source(root), pipelinetest.NewSink(), "inspect:file=FILE")
		if !strings.Contains(lines[0], want) || !strings.Contains(lines[0], `"Tags": ["unknown:unknown"]}], "name": "unknown:unknown"}`) {
			t.Errorf("of %s it tells %s", history, lines[0])
		}
	}
}

// A run that fails has told nothing.
func TestInspectOfAFailedRunWritesNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "layers.jsonl")
	src := imageOf(t, tarOf(t, member{}))
	_, err := pipeline.Run(t.Context(), src, []pipeline.Filter{newFilter(t, filter.Defaults{}, "inspect:file="+file)}, &pipelinetest.Sink{Store: pipelinetest.NewStore(), Refuse: func(int) error { return os.ErrPermission }}, pipeline.Options{})
	if err == nil {
		t.Fatal("no error")
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("there is a file")
	}
}

// Layers that are kept elsewhere are not read: they have no size. One that is
// left out has no entry.
func TestInspectKnowsLayersThatAreKeptElsewhere(t *testing.T) {
	t.Parallel()
	for policy, want := range map[pipeline.Foreign]string{
		pipeline.ForeignKeep: `"Size": 1536, "Tags": ["app:1"]}, {"Comment": "base", "Created": 0, "CreatedBy": "", "Id": "sha256:`,
		pipeline.ForeignSkip: `{"layers": [{"Comment": "own", "Created": 0, "CreatedBy": "", "Id": "sha256:`,
	} {
		store := pipelinetest.NewStore()
		own, base := store.Put(ocispec.MediaTypeImageLayer, tarOf(t, file("a", ""))), digest.FromString("base")
		config := store.PutJSON(t, ocispec.MediaTypeImageConfig, ocispec.Image{
			RootFS:  ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{base, own.Digest}},
			History: []ocispec.History{{Comment: "base"}, {Comment: "own"}},
		})
		root := store.PutJSON(t, ocispec.MediaTypeImageManifest, map[string]any{
			"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "config": config,
			"layers": []any{ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: base, Size: 9, URLs: []string{"https://example.com/base"}}, own},
		})
		out := filepath.Join(t.TempDir(), "layers.jsonl")
		opts := pipeline.Options{Query: pipeline.Query{Foreign: policy}}
		if _, err := pipeline.Run(t.Context(), store.Source(root, "app:1"), []pipeline.Filter{newFilter(t, filter.Defaults{}, "inspect:file="+out)}, pipelinetest.NewSink(), opts); err != nil {
			t.Fatal(err)
		}
		line, err := os.ReadFile(out)
		if err != nil || !strings.Contains(string(line), want) || strings.Contains(string(line), `"Size": 0`) != (policy == pipeline.ForeignKeep) {
			t.Errorf("%s: %s, %v", policy, line, err)
		}
	}
}
