package filter_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// gated is content that holds back one blob until something happens.
type gated struct {
	*pipelinetest.Store
	blob digest.Digest
	gate <-chan struct{}
}

func (g *gated) Open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if d.Digest == g.blob {
		select {
		case <-g.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return g.Store.Open(ctx, d)
}

// gatedSource is a source of gated content.
type gatedSource struct {
	*gated
	roots []pipeline.Root
}

func (g gatedSource) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	return pipeline.Resolve(ctx, g.gated, g.roots, q, pipeline.ResolveOptions{}, nil)
}

func TestSearchTellsALayerBeforeTheNextIsRead(t *testing.T) {
	t.Parallel()
	layers := [][]byte{tarOf(t, file("x0", "")), tarOf(t, file("x1", "")), tarOf(t, file("x2", ""))}
	src := imageOf(t, layers...)
	gate := make(chan struct{})
	found := &searched{onLayer: func(l filter.SearchedLayer) error {
		if l.Index == 0 {
			close(gate) // the second layer is not read before
		}
		return nil
	}}
	second := digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, layers[1]))
	slow := gatedSource{&gated{src.Store, second, gate}, src.Roots}
	if err := pipeline.Look(t.Context(), slow, newSearch(t, filter.SearchOptions{Pattern: "x*"}, found), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	found.want(t, "0: x0", "1: x1", "2: x2")
}

// Images that share layers are each told whole; every layer is read once.
func TestSearchTellsEveryImageAndReadsLayersOnce(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	base := tarOf(t, file("x", "1"))
	one := s.Image(t, pipelinetest.Image{Layers: [][]byte{base, tarOf(t, file(".wh.x", ""))}})
	two := s.Image(t, pipelinetest.Image{Platform: "linux/arm64", Layers: [][]byte{base, tarOf(t, file("y/x", ""))}})
	src := s.Source(s.Index(t, one, two), "docker.io/library/app:1")
	found := &searched{}
	if err := pipeline.Look(t.Context(), src, newSearch(t, filter.SearchOptions{Pattern: "x"}, found), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	found.want(t, "0: x", "1: deleted 0: x", "0: x", "1: y/x")
	if n := s.Opened(digest.FromBytes(base)); n != 1 {
		t.Errorf("the shared layer was opened %d times", n)
	}
	for i, l := range found.layers {
		if want := i / 2; l.Image.Index != want || l.Image.Count != 2 || !slices.Equal(l.Image.Names, []string{"docker.io/library/app:1"}) {
			t.Errorf("layer %d is told of image %+v", i, l.Image)
		}
	}
}

// A layer that cannot be read is named; the others are searched.
func TestSearchGoesOnBehindAnUnreadableLayer(t *testing.T) {
	t.Parallel()
	layers := [][]byte{tarOf(t, file("x0", "")), tarOf(t, file("x1", "")), tarOf(t, file("x2", ""))}
	src := imageOf(t, layers...)
	broken := digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, layers[1]))
	src.Store.Corrupt(broken, []byte("no gzip"))
	found := &searched{}
	err := pipeline.Look(t.Context(), src, newSearch(t, filter.SearchOptions{Pattern: "x*"}, found), pipeline.Options{})
	if err == nil || !strings.Contains(err.Error(), broken.Encoded()[:12]) {
		t.Errorf("error is %v", err)
	}
	found.want(t, "0: x0", "2: x2")
	if u := found.summary.Unreadable; len(u) != 1 || u[0].Index != 1 || u[0].Err == nil {
		t.Errorf("unreadable are %+v", u)
	}
}

// What the results refuse ends the search.
func TestSearchEndsWhenItsResultsAreRefused(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	found := &searched{onLayer: func(filter.SearchedLayer) error { return enough }}
	err := pipeline.Look(t.Context(), imageOf(t, tarOf(t, file("x", ""))), newSearch(t, filter.SearchOptions{Pattern: "x"}, found), pipeline.Options{})
	if !errors.Is(err, enough) || found.summary != nil {
		t.Errorf("error is %v, summary %v", err, found.summary)
	}
}

// flaky is content whose blobs break off near their end at the first reading.
type flaky struct {
	*pipelinetest.Store
	mu    sync.Mutex
	tried map[digest.Digest]bool
}

func (f *flaky) Open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rc, err := f.Store.Open(ctx, d)
	if err != nil || f.tried[d.Digest] {
		return rc, err
	}
	f.tried[d.Digest] = true
	return &breaksOff{rc}, nil
}

type breaksOff struct{ io.ReadCloser }

func (b *breaksOff) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		return n, passing{errors.New("connection lost")}
	}
	return n, err
}

type passing struct{ error }

func (passing) Temporary() bool { return true }

// A layer that had to be read again is told once.
func TestSearchTellsALayerOnceHoweverOftenItIsRead(t *testing.T) {
	t.Parallel()
	src := imageOf(t, tarOf(t, file("x0", "")), tarOf(t, file("x1", "")))
	found := &searched{}
	again := flakySource{&flaky{Store: src.Store, tried: map[digest.Digest]bool{}}, src.Roots}
	if err := pipeline.Look(t.Context(), again, newSearch(t, filter.SearchOptions{Pattern: "x*"}, found), pipeline.Options{Retries: 1}); err != nil {
		t.Fatal(err)
	}
	found.want(t, "0: x0", "1: x1")
}

type flakySource struct {
	*flaky
	roots []pipeline.Root
}

func (f flakySource) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	return pipeline.Resolve(ctx, f.flaky, f.roots, q, pipeline.ResolveOptions{}, nil)
}
