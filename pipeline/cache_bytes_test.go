package pipeline_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// recoding is a sink that does not ask for layers that it wants otherwise, as a
// registry does.
type recoding struct{ *pipelinetest.Sink }

func (r recoding) Plan(ctx context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	p, err := r.Sink.Plan(ctx, l)
	claimed := pipeline.LayerCompression(l.Blob.MediaType)
	if c := p.Encoding.Compression; c != "" && c != claimed || p.IfPlain != "" && claimed == pipeline.Plain {
		p.Held = false
	}
	return p, err
}

// peeping is an onlooker that looks into files: with it nothing is edited in
// place.
type peeping struct{ onlooker }

func (*peeping) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: "peeping", Content: true} }

// One cache for every source, compression and mode: each run must come to the
// bytes that it comes to without one.
func TestCacheNeverChangesBytes(t *testing.T) {
	t.Parallel()
	layers := [][]byte{pipelinetest.Tar(t, files("a")...), pipelinetest.Tar(t, files("b")...)}
	cache, shared := newMemory(), pipelinetest.NewSink()
	for round := range 2 {
		for _, came := range []pipeline.Compression{pipeline.Gzip, pipeline.Plain, pipeline.Zstd, "other gzip"} {
			s := pipelinetest.NewStore()
			img := s.Image(t, pipelinetest.Image{Compression: came, Layers: layers})
			if came == "other gzip" {
				img = otherGzip(t, s, layers)
			}
			for _, mode := range modes {
				for _, wants := range []pipeline.Plan{{}, {IfPlain: pipeline.Gzip}, {Encoding: pipeline.Encoding{Compression: pipeline.Zstd}}} {
					for _, filters := range [][]pipeline.Filter{nil, {rename{"a/file", "x"}}, {rename{"a/file", "x"}, &peeping{}}, {rename{"no such file", "x"}}} {
						for _, storing := range []pipeline.Storing{{}, {Compression: pipeline.Gzip, Level: 1}, {Compression: pipeline.Zstd}} {
							alone := pipelinetest.NewSink()
							alone.Wants, shared.Wants = wants, wants
							opts := withCache(nil, mode)
							opts.Storing = storing
							run(t, s.Source(img), alone, opts, filters...)
							with := again(shared)
							opts.Cache = cache
							report := run(t, s.Source(img), recoding{with}, opts, filters...)
							if a, b := published(t, alone).Desc.Digest, published(t, with).Desc.Digest; a != b {
								t.Fatalf("%s %s %+v %+v %v: %s without a cache, %s with one", came, mode, wants, storing, filters, a, b)
							}
							// A sink that wants another compression than the user does not say what
							// it holds of the user's.
							wanted := wants.Encoding.Compression
							if agreed := wanted == "" || storing.Compression == "" || wanted == storing.Compression; round > 0 && agreed && report.Read > 0 {
								t.Errorf("%s %s %+v %+v %v: the second time layers were %s", came, mode, wants, storing, filters, hows(report))
							}
						}
					}
				}
			}
		}
	}
}

// otherGzip is an image whose layers were compressed by something else.
func otherGzip(t testing.TB, s *pipelinetest.Store, layers [][]byte) ocispec.Descriptor {
	t.Helper()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layers})
	m, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
	for i, plain := range layers {
		var b bytes.Buffer
		w, err := codec.NewWriter(&b, pipeline.Gzip, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		was := m.Layers[i]
		if m.Layers[i] = s.Put(was.MediaType, b.Bytes()); m.Layers[i].Digest == was.Digest {
			t.Fatal("it is the same gzip")
		}
	}
	other := s.PutJSON(t, m.MediaType, m)
	other.Platform = img.Platform
	return other
}

// A layer pushed from a daemon is plain, from a registry compressed: the diff ID
// is the same, and so is what is compressed anew.
func TestSourcesOfOtherCompressionShareEntries(t *testing.T) {
	t.Parallel()
	layers := [][]byte{pipelinetest.Tar(t, files("a")...)}
	cache, first := newMemory(), pipelinetest.NewSink()
	first.Wants.IfPlain = pipeline.Gzip
	filter := rename{"a/file", "a/other"}
	plain, packed := pipelinetest.NewStore(), pipelinetest.NewStore()
	run(t, plain.Source(plain.Image(t, pipelinetest.Image{Layers: layers})), first, withCache(cache, pipeline.RecompressCanonical), filter)
	report := run(t, packed.Source(packed.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layers})), again(first), withCache(cache, pipeline.RecompressCanonical), filter)
	if diff := cmp.Diff([]pipeline.How{pipeline.HowCached}, hows(report)); diff != "" {
		t.Errorf("%s of %v", diff, cache.recipes())
	}
}
