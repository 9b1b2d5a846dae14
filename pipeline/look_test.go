package pipeline_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// watcher writes down what a Watcher is told.
type watcher struct {
	mu      sync.Mutex
	log     []string
	number  map[pipeline.LayerID]int // in the first image
	entries int
}

func (w *watcher) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: "watch"} }

func (w *watcher) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *watcher) Layer(_ context.Context, _ pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	return watching{next, w}, nil
}

func (w *watcher) Images(images []pipeline.ImageLayers) error {
	w.number = map[pipeline.LayerID]int{}
	for _, image := range images {
		w.note("image %v of %d layers", image.Names, len(image.Layers))
		for i, l := range image.Layers {
			if _, ok := w.number[l.ID]; !ok {
				w.number[l.ID] = i
			}
		}
	}
	return nil
}

func (w *watcher) Done(l pipeline.LayerSeen) error {
	n, ok := w.number[l.ID]
	w.note("layer %d of an image: %t, unreadable: %t", n, ok, l.Err != nil)
	return nil
}

func (w *watcher) Finish(context.Context, []pipeline.Manifest) error {
	w.note("finish")
	return nil
}

type watching struct {
	tarstream.Handler
	w *watcher
}

func (h watching) Entry(e *tarstream.Entry) error {
	h.w.mu.Lock()
	h.w.entries++
	h.w.mu.Unlock()
	return h.Handler.Entry(e)
}

func (h watching) End(rest io.Reader) error { return h.Handler.End(rest) }

// A watcher learns the images first, then of each layer that it has been read;
// Run and Look tell it the same.
func TestWatchersAreToldImagesThenLayers(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	layer := pipelinetest.Tar(t, pipelinetest.File{Name: "a", Body: "a"})
	src := store.Source(store.Image(t, pipelinetest.Image{Layers: [][]byte{layer}}), "example.com/app:1")
	runs := map[string]func(f pipeline.Filter) error{
		"look": func(f pipeline.Filter) error {
			return pipeline.Look(t.Context(), src, []pipeline.Filter{f}, pipeline.Options{})
		},
		"run": func(f pipeline.Filter) error {
			_, err := pipeline.Run(t.Context(), src, []pipeline.Filter{f}, pipelinetest.NewSink(), pipeline.Options{})
			return err
		},
	}
	for name, run := range runs {
		w := &watcher{}
		if err := run(w); err != nil {
			t.Fatal(name, err)
		}
		want := []string{"image [example.com/app:1] of 1 layers", "layer 0 of an image: true, unreadable: false", "finish"}
		if diff := cmp.Diff(want, w.log); diff != "" || w.entries != 1 {
			t.Errorf("%s: %d entries, told (-want +got):\n%s", name, w.entries, diff)
		}
	}
}
