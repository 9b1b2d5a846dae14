//go:build integration && linux

package content_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/plugin/content"
)

// Layers that containerd discarded once they were unpacked come from their
// snapshots, where that is asked for: it is said aloud, layers that are there stay,
// and what was made has the files, by diff IDs that are right.
func TestDiscardedLayersAreRebuiltOnRequest(t *testing.T) {
	t.Parallel()
	r, s := meet(t), pipelinetest.NewStore()
	desc := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: everything(t)})
	must(t, r.put(t, s.Source(desc, r.name), r.uri(r.name)))
	gone := layersOf(t, s, desc)
	must(t, r.ContentStore().Delete(r.ctx, gone[0]))
	must(t, r.ContentStore().Delete(r.ctx, gone[2]))
	if err := r.read(t, r.uri(r.name), pipeline.Query{}); !errors.Is(err, pipeline.ErrNotFound) || !strings.Contains(err.Error(), "rediff=true") {
		t.Errorf("error is %v; want the remedy", err)
	}
	var mu sync.Mutex
	var said []string
	q := pipeline.Query{Events: func(e pipeline.Event) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, e.Message)
	}}
	src, err := schemes(content.Config{}).Source(r.uri(r.name) + "&rediff=true")
	must(t, err)
	copied := r.image(t)
	sink, err := schemes(content.Config{Events: details(t)}).Sink(r.uri(copied))
	must(t, err)
	report, err := pipeline.Run(t.Context(), src, nil, sink, pipeline.Options{Query: q})
	must(t, err)
	if len(report.Layers) != len(gone) || report.Layers[1].Result.Digest != gone[1] {
		t.Errorf("the layers are %+v, had %v", report.Layers, gone)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{gone[0].String(), gone[2].String(), desc.Digest.String(), "rebuilt from"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q does not say %s", all, want)
		}
	}
	if strings.Contains(all, "layer "+gone[1].String()) {
		t.Errorf("%q speaks of a layer that is there", all)
	}
	again, err := schemes(content.Config{}).Source(r.uri(copied))
	must(t, err)
	must(t, pipeline.Verify(t.Context(), again, report, pipeline.Options{}))
	was, is := r.layersIn(r.ctx, t, r.name), r.layersIn(r.ctx, t, copied)
	nothing := func(string) bool { return true }
	for n := range was {
		want, got := tree(t, was[n], nothing), tree(t, is[n], nothing)
		for name := range want {
			if got[name] == "" {
				t.Errorf("layer %d of what was rebuilt lacks %s", n, name)
			}
		}
	}
}

// What is nowhere cannot be rebuilt; that is said, and what else helps.
func TestNothingIsRebuiltWithoutSnapshots(t *testing.T) {
	t.Parallel()
	r, s := meet(t), pipelinetest.NewStore()
	desc, layer := unique(t, s, "linux/amd64")
	must(t, r.put(t, s.Source(desc, r.name), r.uri(r.name)+"&unpack=false"))
	must(t, r.read(t, r.uri(r.name)+"&rediff=true", pipeline.Query{})) // it is all there
	must(t, r.ContentStore().Delete(r.ctx, layer))
	err := r.read(t, r.uri(r.name)+"&rediff=true", pipeline.Query{})
	if !errors.Is(err, pipeline.ErrNotFound) || !strings.Contains(err.Error(), "--missing=fetch") || !strings.Contains(err.Error(), layer.String()) {
		t.Errorf("error is %v; want the remedy", err)
	}
}
