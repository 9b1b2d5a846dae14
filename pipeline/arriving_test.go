package pipeline_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// listGraph is a graph of layers.
type listGraph []pipeline.Layer

func (g listGraph) Layers(context.Context) iter.Seq2[pipeline.Layer, error] {
	return func(yield func(pipeline.Layer, error) bool) {
		for _, l := range g {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (listGraph) Manifests(context.Context) iter.Seq2[pipeline.Manifest, error] {
	return func(yield func(pipeline.Manifest, error) bool) { yield(pipeline.Manifest{Root: true}, nil) }
}

func (listGraph) Close() error { return nil }

func layerNamed(name string) pipeline.Layer {
	return pipeline.Layer{Blob: ocispec.Descriptor{Digest: digest.FromString(name)}}
}

// What arrives is yielded while more is to come, and what was not announced
// follows from the manifests, each once.
func TestArrivingYieldsAtOnceAndTheRestAfterTheEnd(t *testing.T) {
	t.Parallel()
	g := pipeline.NewArriving(func(context.Context) (pipeline.Graph, error) {
		return listGraph{layerNamed("a"), layerNamed("b"), layerNamed("late")}, nil
	})
	for _, err := range g.Manifests(t.Context()) {
		if err == nil {
			t.Error("manifests are known before the layers")
		}
	}
	next, stop := iter.Pull2(g.Layers(t.Context()))
	defer stop()
	want := func(name string, role pipeline.Role) {
		t.Helper()
		l, err, ok := next()
		if err != nil || !ok || l.Blob.Digest != digest.FromString(name) || l.Role != role {
			t.Errorf("got %s (role %v), %v, %v; want %s", l.Blob.Digest, l.Role, err, ok, name)
		}
	}
	g.Announce(layerNamed("a"))
	want("a", pipeline.Unknown)
	go func() {
		g.Announce(layerNamed("b"))
		g.End(nil)
		g.End(errors.New("the first one counts"))
	}()
	want("b", pipeline.Unknown)
	want("late", pipeline.FileSystem)
	if _, err, ok := next(); ok {
		t.Errorf("one more: %v", err)
	}
	for m, err := range g.Manifests(t.Context()) {
		if err != nil || !m.Root {
			t.Errorf("manifest: %v, %v", m, err)
		}
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func TestArrivingEndsWithItsSourcesError(t *testing.T) {
	t.Parallel()
	broken := errors.New("the line went dead")
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("nobody wants it")
	cancel(gone)
	for name, tc := range map[string]struct {
		ctx  context.Context //nolint:containedctx // of one case
		end  func(*pipeline.Arriving)
		want error
	}{
		"ended with an error": {t.Context(), func(g *pipeline.Arriving) { g.End(broken) }, broken},
		"reader went away":    {ctx, func(*pipeline.Arriving) {}, gone},
		"cannot be resolved":  {t.Context(), func(g *pipeline.Arriving) { g.End(nil) }, pipeline.ErrNotFound},
	} {
		g := pipeline.NewArriving(func(context.Context) (pipeline.Graph, error) { return nil, pipeline.ErrNotFound })
		g.Announce(layerNamed("a"))
		tc.end(g)
		var layers int
		var last error
		for _, err := range g.Layers(tc.ctx) {
			if last = err; err == nil {
				layers++
			}
		}
		if layers != 1 || !errors.Is(last, tc.want) {
			t.Errorf("%s: %d layers, %v; want %v", name, layers, last, tc.want)
		}
	}
}
