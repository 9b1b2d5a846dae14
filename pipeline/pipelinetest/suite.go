package pipelinetest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
)

// An End is one kind of place under test.
type End struct {
	// Sink returns a sink of a new, empty place, and how to read the place
	// afterwards.
	Sink func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error))
	// OwnManifests: the place makes manifests of its own (docker save's old
	// form); only diff IDs can be compared.
	OwnManifests bool
	// OneImage: the place cannot hold an index.
	OneImage bool
}

const suiteName = "registry.example/team/app:1"

// TestEnd runs the conformance suite of sinks and sources: what goes in comes
// out, whatever the parallelism, and a run that fails leaves nothing.
func TestEnd(t *testing.T, end End) { //nolint:tparallel // the test that calls it says so
	t.Helper()
	t.Run("ImageComesOutAsItWentIn", func(t *testing.T) { t.Parallel(); end.roundTrip(t, sample(t, pipeline.Gzip)) })
	t.Run("ZstdImageComesOutAsItWentIn", func(t *testing.T) { t.Parallel(); end.roundTrip(t, sample(t, pipeline.Zstd)) })
	t.Run("PlainImageComesOutAsItWentIn", func(t *testing.T) { t.Parallel(); end.roundTrip(t, sample(t, pipeline.Plain)) })
	t.Run("RepeatedLayerComesOutRepeated", func(t *testing.T) {
		t.Parallel()
		s := NewStore()
		l := Tar(t, File{Name: "f", Body: "x"})
		end.roundTrip(t, s.Source(s.Image(t, Image{Compression: pipeline.Gzip, Layers: [][]byte{l, l}}), suiteName))
	})
	t.Run("IndexComesOutWhole", func(t *testing.T) {
		t.Parallel()
		if end.OneImage {
			return // it has no index to give back; that it says so is its own test
		}
		s := NewStore()
		amd := s.Image(t, Image{Compression: pipeline.Gzip, Layers: [][]byte{Tar(t, File{Name: "amd"})}})
		arm := s.Image(t, Image{Platform: "linux/arm64", Compression: pipeline.Gzip, Layers: [][]byte{Tar(t, File{Name: "arm"})}})
		end.roundTrip(t, s.Source(s.Index(t, amd, arm, s.Attestation(t, amd.Digest)), suiteName))
	})
	t.Run("LayersOpenAgainAndAtOnce", func(t *testing.T) { t.Parallel(); end.opensAgain(t) })
	t.Run("FailedRunLeavesNothing", func(t *testing.T) { t.Parallel(); end.failedRun(t) })
}

// sample is an image of a few layers, one larger than any buffer.
func sample(t testing.TB, c pipeline.Compression) *Source {
	t.Helper()
	s := NewStore()
	big := strings.Repeat("all work and no play makes jack a dull boy\n", 1<<16)
	return s.Source(s.Image(t, Image{Compression: c, Layers: [][]byte{
		Tar(t, File{Name: "etc/"}, File{Name: "etc/passwd", Body: "root:x:0:0::/root:/bin/sh\n"}),
		Tar(t, File{Name: "big", Body: big}),
		Tar(t, File{Name: "etc/.wh.passwd"}),
	}}), suiteName)
}

// roundTrip runs src into a new place and compares what can be read there.
func (end End) roundTrip(t *testing.T, src *Source) {
	for _, parallel := range []int{1, 8} {
		dst, reopen := end.Sink(t)
		o := pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}, Parallel: parallel}
		report, err := pipeline.Run(t.Context(), src, nil, dst, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := dst.Close(); err != nil {
			t.Errorf("Close after Run: %v", err)
		}
		back, err := reopen()
		if err != nil {
			t.Fatal(err)
		}
		if !end.OwnManifests {
			if err := pipeline.Verify(t.Context(), back, report, o); err != nil {
				t.Error(err)
			}
		}
		want, got := diffIDs(t, src), diffIDs(t, back)
		if !slices.Equal(want, got) {
			t.Errorf("with -j %d diff IDs came out as %v, went in as %v", parallel, got, want)
		}
	}
}

// diffIDs lists the diff IDs of all images of a source, and reads every layer.
func diffIDs(t *testing.T, src pipeline.Source) (out []digest.Digest) {
	t.Helper()
	g, err := src.Open(t.Context(), pipeline.Query{Platforms: pipeline.Platforms{All: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for l, err := range g.Layers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := readLayer(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	for m, err := range g.Manifests(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		var config ocispec.Image
		if m.Config != nil && json.Unmarshal(m.Config, &config) == nil {
			out = append(out, config.RootFS.DiffIDs...)
		}
	}
	return out
}

func readLayer(ctx context.Context, l pipeline.Layer) error {
	rc, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer rc.Close()
	sum := l.Blob.Digest.Algorithm().Digester()
	if _, err := io.Copy(sum.Hash(), rc); err != nil {
		return err
	}
	if sum.Digest() != l.Blob.Digest {
		return fmt.Errorf("layer %s has the bytes of %s", l.Blob.Digest, sum.Digest())
	}
	return nil
}

// opensAgain reads every layer of a place several times at once.
func (end End) opensAgain(t *testing.T) {
	dst, reopen := end.Sink(t)
	if _, err := pipeline.Run(t.Context(), sample(t, pipeline.Gzip), nil, dst, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	back, err := reopen()
	if err != nil {
		t.Fatal(err)
	}
	g, err := back.Open(t.Context(), pipeline.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	group, ctx := errgroup.WithContext(t.Context())
	layers := 0
	for l, err := range g.Layers(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		layers++
		for range 3 {
			group.Go(func() error { return readLayer(ctx, l) })
		}
	}
	if err := group.Wait(); err != nil || layers != 3 {
		t.Errorf("%d layers: %v", layers, err)
	}
}

// failedRun runs an image whose second layer is damaged.
func (end End) failedRun(t *testing.T) {
	// A place that many share may hold the layers of the sample already.
	s := NewStore()
	src := s.Source(s.Image(t, Image{Compression: pipeline.Gzip, Layers: [][]byte{
		Tar(t, File{Name: "good", Body: rand.Text()}), Tar(t, File{Name: "bad", Body: rand.Text()}),
	}}), suiteName)
	m := manifestOf(t, src)
	src.Store.Corrupt(m.Layers[1].Digest, []byte("damaged"))
	dst, reopen := end.Sink(t)
	if _, err := pipeline.Run(t.Context(), src, nil, dst, pipeline.Options{}); err == nil {
		t.Fatal("a damaged layer was accepted")
	}
	back, err := reopen()
	if err != nil {
		return
	}
	g, err := back.Open(t.Context(), pipeline.Query{})
	if err == nil {
		t.Error("the failed run left an image", errors.Join(g.Close()))
	}
}

func manifestOf(t testing.TB, src *Source) (m ocispec.Manifest) {
	t.Helper()
	if err := json.Unmarshal(src.Store.Bytes(src.Roots[0].Desc.Digest), &m); err != nil {
		t.Fatal(err)
	}
	return m
}
