package filter_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// A step is one filter of a chain; a search tells to found.
type step struct {
	spec  string
	found *searched
}

// process runs an image through filters.
func process(t *testing.T, src pipeline.Source, dst *pipelinetest.Sink, steps ...step) pipeline.Report {
	t.Helper()
	temp := t.TempDir()
	var fs []pipeline.Filter
	for _, s := range steps {
		to := func(string) (filter.SearchResults, error) { return s.found, nil }
		fs = append(fs, newFilter(t, filter.Defaults{TempDir: temp, Search: to}, s.spec))
	}
	report, err := pipeline.Run(t.Context(), src, fs, dst, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// A search passes everything on, and sees what the destination holds already.
func TestSearchFilterChangesNothingAndSeesHeldLayers(t *testing.T) {
	t.Parallel()
	src := imageOf(t, tarOf(t, file("x0", "")), tarOf(t, file("x1", "")))
	dst := pipelinetest.NewSink()
	for round, how := range []pipeline.How{pipeline.HowCopied, pipeline.HowHeld} {
		found := &searched{}
		report := process(t, src, dst, step{"search:pattern=x*", found})
		found.want(t, "0: x0", "1: x1")
		if found.summary == nil {
			t.Error("there is no summary")
		}
		for _, l := range report.Layers {
			if l.How != how || l.Source.Digest != l.Result.Digest {
				t.Errorf("round %d: %s became %s, %s", round, l.Source.Digest, l.Result.Digest, l.How)
			}
		}
	}
}

// A search sees what the filters before it leave, and names a layer as they
// made it; what those after it do is not seen.
func TestSearchFilterSeesTheTarAsItIsAtItsPlace(t *testing.T) {
	t.Parallel()
	layers := [][]byte{tarOf(t, file("x0", ""), file("y", "")), tarOf(t, file("x1", ""))}
	before, after := &searched{}, &searched{}
	src, dst := imageOf(t, layers...), pipelinetest.NewSink()
	report := process(t, src, dst, step{"search:pattern=*", before}, step{"exclude:pattern=y", nil}, step{"search:pattern=*", after})
	before.want(t, "0: x0", "0: y", "1: x1")
	after.want(t, "0: x0", "1: x1")
	for i, l := range before.layers {
		if l.Changed || l.DiffID != digest.FromBytes(layers[i]) || l.Name() != report.Layers[i].Source.Digest {
			t.Errorf("before, layer %d is %+v", i, l.SearchPlace)
		}
	}
	if how := report.Layers[0].How; how != pipeline.HowTranscoded {
		t.Errorf("the changed layer is %s: to look at names needs no content", how)
	}
	for i, changed := range []bool{true, false} {
		if l := after.layers[i]; l.Changed != changed || l.DiffID != report.Layers[i].ResultDiffID {
			t.Errorf("after, layer %d is %+v, and became %s", i, l.SearchPlace, report.Layers[i].ResultDiffID)
		}
	}
}

// Content goes on to whoever writes it, and is searched once, though the layer
// is scanned first and then rewritten.
func TestContentSearchDoesNotTakeTheContent(t *testing.T) {
	t.Parallel()
	src, dst := imageOf(t, tarOf(t, file("a", "needle\n"), file("b", "needle\n"), file("c", "hay\n"))), pipelinetest.NewSink()
	needle, hay := &searched{}, &searched{}
	report := process(t, src, dst, step{"search:pattern=needle,content=true", needle}, step{"exclude:pattern=b", nil}, step{"search:pattern=hay,content=true", hay})
	needle.want(t, "0: a", "0: b")
	hay.want(t, "0: c")
	if len(report.Layers) != 1 || report.Layers[0].How != pipeline.HowRewritten {
		t.Fatalf("layers are %+v", report.Layers)
	}
	r, err := gzip.NewReader(bytes.NewReader(dst.Store.Bytes(report.Layers[0].Result.Digest)))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	wantList(t, out, "a=needle\n", "c=hay\n")
}

// Who only reads content leaves the layer as it came: nothing is compressed
// anew, whatever was compressed elsewhere and however.
func TestContentSearchLeavesTheStoredBytes(t *testing.T) {
	t.Parallel()
	src, dst := imageOf(t, tarOf(t, file("a", "needle\n"))), pipelinetest.NewSink()
	needle, again := &searched{}, &searched{}
	report := process(t, src, dst, step{"search:pattern=needle,content=true", needle}, step{"search:pattern=*", again})
	needle.want(t, "0: a")
	again.want(t, "0: a")
	for _, l := range report.Layers {
		if l.How != pipeline.HowCopied || l.Result.Digest != l.Source.Digest {
			t.Errorf("it is %s and became %s, %s %s", l.Source.Digest, l.Result.Digest, l.How, l.Why)
		}
		if n := src.Store.Opened(l.Source.Digest); n != 1 {
			t.Errorf("it was opened %d times", n)
		}
	}
}

// Between two filters that change layers the digest needs the content; a layer
// that neither changes still goes as it came.
func TestSearchBetweenTwoFiltersKnowsTheDigestThere(t *testing.T) {
	t.Parallel()
	layers := [][]byte{tarOf(t, file("x0", ""), file("y", ""), file("z", "")), tarOf(t, file("x1", ""))}
	src, dst, found := imageOf(t, layers...), pipelinetest.NewSink(), &searched{}
	report := process(t, src, dst, step{"exclude:pattern=y", nil}, step{"search:pattern=*", found}, step{"exclude:pattern=z", nil})
	found.want(t, "0: x0", "0: z", "1: x1")
	want := digest.FromBytes(apply(t, nil, layers[0], "exclude:pattern=y").tar)
	if l := found.layers[0]; !l.Changed || l.DiffID != want || l.DiffID == report.Layers[0].ResultDiffID {
		t.Errorf("layer 0 is %+v there, want %s", l.SearchPlace, want)
	}
	if l := report.Layers[1]; l.How != pipeline.HowCopied || found.layers[1].Changed {
		t.Errorf("the layer without y and z became %s %s", l.How, l.Result.Digest)
	}
}
