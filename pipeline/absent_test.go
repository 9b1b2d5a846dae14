package pipeline_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// sparseStore is a store that was made without some layers.
type sparseStore struct {
	*pipelinetest.Store
	omits map[digest.Digest]bool
}

func (s sparseStore) Omits(d digest.Digest) bool { return s.omits[d] }

// sparseSource is an image of which layers were left out.
type sparseSource struct {
	store sparseStore
	root  ocispec.Descriptor
}

func (s sparseSource) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	return pipeline.Resolve(ctx, s.store, []pipeline.Root{{Desc: s.root}}, q, pipeline.ResolveOptions{}, nil)
}

// without leaves layers of an image out of a store.
func without(t *testing.T, s *pipelinetest.Store, root ocispec.Descriptor, layers ...digest.Digest) sparseSource {
	t.Helper()
	src := sparseSource{sparseStore{s, map[digest.Digest]bool{}}, root}
	for _, l := range layers {
		s.Delete(l)
		src.store.omits[l] = true
	}
	return src
}

// listed is a sink that says what it has.
type listed struct {
	*pipelinetest.Sink
	have []pipeline.Holding
}

func (l listed) Holdings(context.Context, pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	return func(yield func(pipeline.Holding, error) bool) {
		for _, h := range l.have {
			if !yield(h, nil) {
				return
			}
		}
	}
}

func TestAbsentLayersAreGoodWhereTheSinkHoldsThem(t *testing.T) {
	t.Parallel()
	tars := [][]byte{pipelinetest.Tar(t, files("a")...), pipelinetest.Tar(t, files("b")...)}
	store := pipelinetest.NewStore()
	root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: tars})
	dst := pipelinetest.NewSink()
	base := dst.Store.Put("", pipelinetest.Compress(t, pipeline.Gzip, tars[0]))
	src := without(t, store, root, base.Digest)
	report := run(t, src, dst, pipeline.Options{})
	if got := report.Roots[0].Manifest.Digest; got != root.Digest {
		t.Errorf("the image became %s, not %s", got, root.Digest)
	}
	if report.Layers[0].How != pipeline.HowHeld || report.Layers[1].How != pipeline.HowCopied {
		t.Errorf("the layers were %s and %s", report.Layers[0].How, report.Layers[1].How)
	}
}

func TestNothingMovesWhereAnAbsentLayerIsNotHeld(t *testing.T) {
	t.Parallel()
	var tars [][]byte
	var blobs []digest.Digest
	for _, n := range []string{"a", "b", "c"} {
		l := pipelinetest.Tar(t, files(n)...)
		tars, blobs = append(tars, l), append(blobs, digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, l)))
	}
	store := pipelinetest.NewStore()
	root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: tars})
	src := without(t, store, root, blobs[0], blobs[1])
	_, err := pipeline.Run(t.Context(), src, nil, pipelinetest.NewSink(), pipeline.Options{})
	var absent *pipeline.AbsentError
	if !errors.As(err, &absent) || !errors.Is(err, pipeline.ErrNotFound) {
		t.Fatalf("the error is %v", err)
	}
	for _, want := range []string{"destination: it lacks 2 of", blobs[0].String() + " (", blobs[1].String() + " (", "occystrap inventory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if n := store.Opened(blobs[2]); n != 0 {
		t.Errorf("a layer was read %d times", n)
	}
}

func TestAbsentLayerIsTheSameTarInAnotherCompression(t *testing.T) {
	t.Parallel()
	tars := [][]byte{pipelinetest.Tar(t, files("a")...), pipelinetest.Tar(t, files("b")...)}
	store := pipelinetest.NewStore()
	root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: tars})
	src := without(t, store, root, digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, tars[0])))
	dst := listed{pipelinetest.NewSink(), nil}
	other := dst.Store.Put(ocispec.MediaTypeImageLayerZstd, pipelinetest.Compress(t, pipeline.Zstd, tars[0]))
	dst.have = []pipeline.Holding{{Blob: other, DiffID: digest.FromBytes(tars[0])}}
	report := run(t, src, dst, pipeline.Options{})
	if got := report.Layers[0].Result; got.Digest != other.Digest || got.MediaType != other.MediaType {
		t.Errorf("the layer became %+v", got)
	}
	if report.Roots[0].Manifest.Digest == root.Digest {
		t.Error("the manifest names a blob that is nowhere")
	}
}

// restocking is a sink that gives out what its other images have.
type restocking struct {
	*pipelinetest.Sink
	other *pipelinetest.Store
	blobs map[digest.Digest]ocispec.Descriptor
	asked int
}

func (s *restocking) Restock(_ context.Context, diffID digest.Digest) (func(context.Context) (pipeline.Layer, error), bool, error) {
	blob, ok := s.blobs[diffID]
	return func(context.Context) (pipeline.Layer, error) {
		s.asked++
		return pipeline.Layer{Blob: blob, DiffID: diffID, Open: func(ctx context.Context) (io.ReadCloser, error) { return s.other.Open(ctx, blob) }}, nil
	}, ok, nil
}

func TestAbsentLayersComeOutOfOtherImagesOfTheSink(t *testing.T) {
	t.Parallel()
	tars := [][]byte{pipelinetest.Tar(t, files("a")...), pipelinetest.Tar(t, files("b")...)}
	store := pipelinetest.NewStore()
	root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: tars})
	src := without(t, store, root, digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, tars[0])))
	dst := &restocking{Sink: pipelinetest.NewSink(), other: pipelinetest.NewStore(), blobs: map[digest.Digest]ocispec.Descriptor{}}
	if _, err := pipeline.Run(t.Context(), src, nil, dst, pipeline.Options{}); !errors.Is(err, pipeline.ErrNotFound) {
		t.Fatalf("of a layer that is nowhere the error is %v", err)
	}
	plain := dst.other.Put(ocispec.MediaTypeImageLayer, tars[0])
	dst.blobs[plain.Digest] = plain
	dst.Sink = pipelinetest.NewSink()
	report := run(t, src, dst, pipeline.Options{})
	if got := report.Layers[0]; got.Result.Digest != plain.Digest || got.Result.MediaType != plain.MediaType || got.How != pipeline.HowRecoded {
		t.Errorf("the layer became %+v", got)
	}
	if dst.asked != 1 || dst.Store.Bytes(plain.Digest) == nil {
		t.Errorf("it was taken out %d times", dst.asked)
	}
	dst.other.Corrupt(plain.Digest, append([]byte{tars[0][0] ^ 1}, tars[0][1:]...))
	dst.Sink = pipelinetest.NewSink()
	if _, err := pipeline.Run(t.Context(), src, nil, dst, pipeline.Options{}); !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("of a damaged one the error is %v", err)
	}
}

func TestFiltersDoNotSeeAbsentLayers(t *testing.T) {
	t.Parallel()
	l := pipelinetest.Tar(t, files("a")...)
	store := pipelinetest.NewStore()
	root := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{l}})
	blob := digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, l))
	dst := pipelinetest.NewSink()
	dst.Store.Put("", pipelinetest.Compress(t, pipeline.Gzip, l))
	_, err := pipeline.Run(t.Context(), without(t, store, root, blob), []pipeline.Filter{rename{"a/file", "b"}}, dst, pipeline.Options{})
	if !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("the error is %v", err)
	}
}

func TestChainIDsAreTheImageSpecifications(t *testing.T) {
	t.Parallel()
	a, b := digest.FromString("a"), digest.FromString("b")
	got := pipeline.ChainIDs([]digest.Digest{a, b, "", b})
	want := digest.FromString(a.String() + " " + b.String())
	if got[0] != a || got[1] != want || got[2] != "" || got[3] != "" {
		t.Errorf("the chain IDs are %v", got)
	}
	l := pipeline.Layer{DiffID: b, Parents: []pipeline.Layer{{DiffID: a}}}
	if l.ChainID() != want {
		t.Errorf("the layer's is %s", l.ChainID())
	}
	if l.Role = pipeline.Unknown; l.ChainID() != "" {
		t.Error("a layer whose manifest is not known has a chain ID")
	}
}
