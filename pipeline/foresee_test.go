package pipeline_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// foretold is what a forecast says of the layers of a run, where it says one
// thing: what filters read may come to any of several ends.
func foretold(f pipeline.Forecast, ran pipeline.Report) (out []pipeline.How) {
	ends := []pipeline.How{pipeline.HowTranscoded, pipeline.HowRewritten, pipeline.HowRecoded, pipeline.HowCopied, pipeline.HowHeld}
	for i, l := range f.Layers {
		how := l.How
		if how == pipeline.HowRead && i < len(ran.Layers) && slices.Contains(ends, ran.Layers[i].How) {
			how = ran.Layers[i].How
		}
		out = append(out, how)
	}
	return out
}

// TestForecastIsWhatTheRunDoes: layers that are held, in a cache, copied, stored
// otherwise and filtered; nothing is opened, sent or recorded for the answer.
func TestForecastIsWhatTheRunDoes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		wants   pipeline.Plan
		had     []int // layers that the sink holds
		filters []pipeline.Filter
		ran     bool // the same run has been made, with the same cache
		storing pipeline.Storing
		says    []pipeline.How
	}{
		{name: "nothing is there", says: []pipeline.How{pipeline.HowCopied, pipeline.HowCopied}},
		{name: "one layer is there", had: []int{0}, says: []pipeline.How{pipeline.HowHeld, pipeline.HowCopied}},
		{name: "all is there", had: []int{0, 1}, says: []pipeline.How{pipeline.HowHeld, pipeline.HowHeld}},
		{name: "plain layers are wanted", wants: pipeline.Plan{Encoding: pipeline.Encoding{Compression: pipeline.Plain}}, says: []pipeline.How{pipeline.HowRecoded, pipeline.HowRecoded}},
		{name: "zstd is wanted", storing: pipeline.Storing{Compression: pipeline.Zstd}, says: []pipeline.How{pipeline.HowRecoded, pipeline.HowRecoded}},
		{name: "a filter", filters: []pipeline.Filter{rename{"a/file", "b"}}, had: []int{1}, says: []pipeline.How{pipeline.HowRead, pipeline.HowRead}},
		{name: "a filter, and a cache that knows", filters: []pipeline.Filter{rename{"a/file", "b"}}, ran: true, says: []pipeline.How{pipeline.HowCached, pipeline.HowCached}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			store := pipelinetest.NewStore()
			tars := [][]byte{pipelinetest.Tar(t, files("a")...), pipelinetest.Tar(t, files("c")...)}
			root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: tars})
			src, dst, cache := store.Source(root, "registry.example/app:1"), pipelinetest.NewSink(), newMemory()
			dst.Wants = tc.wants
			opts := withCache(cache, pipeline.RecompressTranscode)
			opts.Storing = tc.storing
			if tc.ran {
				run(t, src, again(dst), opts, tc.filters...)
			}
			for _, i := range tc.had {
				dst.Store.Put("", pipelinetest.Compress(t, pipeline.Gzip, tars[i]))
			}
			opens, known := opened(t, store, root), len(cache.known)
			f, err := pipeline.Foresee(t.Context(), src, tc.filters, dst, opts)
			if err != nil {
				t.Fatal(err)
			}
			if n := opened(t, store, root); n != opens || dst.Started > 0 || len(dst.Committed) > 0 || len(cache.known) != known || !dst.Closed {
				t.Errorf("layers were opened %d times, %d sent, %d recorded; the sink was closed: %t", n-opens, dst.Started, len(cache.known)-known, dst.Closed)
			}
			var says []pipeline.How
			var total int64
			for _, l := range f.Layers {
				says, total = append(says, l.How), total+l.Layer.Blob.Size
			}
			if diff := cmp.Diff(tc.says, says); diff != "" {
				t.Errorf("it says (-want +got):\n%s", diff)
			}
			if f.Move+f.Held+f.Maybe != total || f.Unasked || f.Vague != "" || f.Approximate {
				t.Errorf("sums %d, %d and %d of %d; %+v", f.Move, f.Held, f.Maybe, total, f)
			}
			if len(f.Roots) != 1 || f.Roots[0].Manifest.Digest != root.Digest || !slices.Equal(f.Roots[0].Names, []string{"registry.example/app:1"}) {
				t.Errorf("roots %+v", f.Roots)
			}
			report := run(t, src, again(dst), opts, tc.filters...)
			if diff := cmp.Diff(hows(report), foretold(f, report)); diff != "" {
				t.Errorf("the run (-) did otherwise than foretold (+):\n%s", diff)
			}
		})
	}
}

// mute hides that a sink can be asked.
type mute struct{ pipeline.Sink }

// TestSinkThatCannotBeAskedIsNot: not even for what it can hold; the forecast says
// so.
func TestSinkThatCannotBeAskedIsNot(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	tar := pipelinetest.Tar(t, files("a")...)
	root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{tar}})
	dst := pipelinetest.NewSink()
	dst.Store.Put("", pipelinetest.Compress(t, pipeline.Gzip, tar))
	f, err := pipeline.Foresee(t.Context(), store.Source(root, "a"), nil, mute{dst}, pipeline.Options{})
	if err != nil || !f.Unasked || f.Layers[0].How != pipeline.HowCopied {
		t.Errorf("%v, %+v", err, f)
	}
}

// TestForecastOfAPartialSource: what the sink has to hold and does not is an error
// here as it is in the run.
func TestForecastOfAPartialSource(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	tar := pipelinetest.Tar(t, files("a")...)
	root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{tar}})
	src := without(t, store, root, digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, tar)))
	if _, err := pipeline.Foresee(t.Context(), src, nil, pipelinetest.NewSink(), pipeline.Options{}); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}
