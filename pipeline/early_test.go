package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// earlyLayers are the layers of an image as they arrive: without a name, or a type.
func earlyLayers(t testing.TB, s *pipelinetest.Store, img ocispec.Descriptor) (out []pipeline.Layer) {
	t.Helper()
	m, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
	for _, l := range m.Layers {
		out = append(out, arriving(s.Bytes(l.Digest)))
	}
	return out
}

func arriving(raw []byte) pipeline.Layer {
	return pipeline.Layer{Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }}
}

// earlyAll moves layers in any order, all at once.
func earlyAll(t testing.TB, layers []pipeline.Layer, filters []pipeline.Filter, dst pipeline.Sink, opts pipeline.Options) {
	t.Helper()
	rand.Shuffle(len(layers), func(i, j int) { layers[i], layers[j] = layers[j], layers[i] })
	var all sync.WaitGroup
	for _, l := range layers {
		all.Go(func() {
			if _, err := pipeline.Early(t.Context(), l, filters, dst, opts); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// Whatever went early: the run comes to the bytes that it comes to alone, and moves
// no layer again.
func TestEarlyNeverChangesBytes(t *testing.T) {
	t.Parallel()
	layers := [][]byte{pipelinetest.Tar(t, files("a")...), pipelinetest.Tar(t, files("b")...)}
	if !testing.Short() {
		layers = append(layers, noise(t, "z")) // more than is kept in memory
	}
	for _, came := range []pipeline.Compression{pipeline.Gzip, pipeline.Plain, pipeline.Zstd, "other gzip"} {
		s := pipelinetest.NewStore()
		img := s.Image(t, pipelinetest.Image{Compression: came, Layers: layers})
		if came == "other gzip" {
			img = otherGzip(t, s, layers)
		}
		for _, mode := range modes {
			for _, wants := range []pipeline.Plan{{}, {IfPlain: pipeline.Gzip}, {Encoding: pipeline.Encoding{Compression: pipeline.Zstd}}} {
				for _, filters := range [][]pipeline.Filter{nil, {rename{"a/file", "x"}}, {rename{"b/file", "x"}, &peeping{}}, {rename{"no such file", "x"}}, {&onlooker{}}} {
					for _, storing := range []pipeline.Storing{{}, {Compression: pipeline.Gzip, Level: 1}, {Compression: pipeline.Zstd}} {
						alone, with := pipelinetest.NewSink(), pipelinetest.NewSink()
						alone.Wants, with.Wants = wants, wants
						opts := withCache(nil, mode)
						opts.Storing, opts.Parallel = storing, 1+rand.IntN(8)
						run(t, s.Source(img), alone, opts, filters...)
						opts.Cache = newMemory()
						earlyAll(t, earlyLayers(t, s, img), filters, recoding{with}, opts)
						sent := with.Started
						report := run(t, s.Source(img), recoding{with}, opts, filters...)
						if a, b := published(t, alone).Desc.Digest, published(t, with).Desc.Digest; a != b {
							t.Fatalf("%s %s %+v %+v %v: %s alone, %s with Early", came, mode, wants, storing, filters, a, b)
						}
						// Without filters layers go as they come, however the sink wants them; and a
						// sink does not say what it holds of another compression than it wants.
						wanted := wants.Encoding.Compression
						asWanted := wanted == "" || storing.Compression == "" || wanted == storing.Compression
						if touched := len(filters) > 0 || storing.Compression != ""; touched && asWanted && with.Started != sent {
							t.Errorf("%s %s %+v %+v %v: layers moved again: %s", came, mode, wants, storing, filters, hows(report))
						}
					}
				}
			}
		}
	}
}

// Without filters the bytes go as they come, and the run finds them.
func TestEarlyWithoutFiltersCopies(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...), noise(t, "z")}})
	dst := pipelinetest.NewSink()
	earlyAll(t, append(earlyLayers(t, s, img), arriving([]byte(`{"no": "tar"}`))), nil, dst, all)
	if dst.Store.Bytes(digest.FromString(`{"no": "tar"}`)) == nil {
		t.Error("a blob that is no layer was not copied")
	}
	before := opened(t, s, img)
	run(t, s.Source(img), dst, all)
	if opened(t, s, img) != before {
		t.Error("a layer was read again")
	}
	if got := published(t, dst).Desc.Digest; got != img.Digest {
		t.Errorf("%s, want %s", got, img.Digest)
	}
}

// A slowly is a body that comes in pieces, with a name that somebody else computed.
type slowly struct {
	io.Reader
	blob ocispec.Descriptor
	end  error
	done *bool
}

func (s slowly) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p[:min(len(p), 1000)])
	if err == io.EOF {
		if *s.done = true; s.end != nil {
			err = s.end
		}
	}
	return n, err
}

func (s slowly) Blob() ocispec.Descriptor {
	if !*s.done {
		panic("asked before the end")
	}
	return s.blob
}

func (slowly) Close() error { return nil }

func TestEarlyLearnsTheNameAtTheEnd(t *testing.T) {
	t.Parallel()
	raw := pipelinetest.Compress(t, pipeline.Gzip, pipelinetest.Tar(t, files("a")...))
	blob := ocispec.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	for name, filters := range map[string][]pipeline.Filter{"copy": nil, "change": {rename{"a/file", "x"}}, "look": {&onlooker{}}} {
		dst, cache := pipelinetest.NewSink(), newMemory()
		l := pipeline.Layer{Open: func(context.Context) (io.ReadCloser, error) {
			return slowly{bytes.NewReader(raw), blob, nil, new(bool)}, nil
		}}
		report, err := pipeline.Early(t.Context(), l, filters, dst, withCache(cache, ""))
		if err != nil {
			t.Fatal(name, err)
		}
		if report.Source.Digest != blob.Digest || report.Source.Size != blob.Size {
			t.Errorf("%s: %+v, want %s", name, report.Source, blob.Digest)
		}
		if dst.Store.Bytes(report.Result.Digest) == nil {
			t.Errorf("%s: the result %s is not there", name, report.Result.Digest)
		}
		if _, ok := cache.Lookup(pipeline.CacheKey{Layer: blob.Digest}); ok != (filters != nil) {
			t.Errorf("%s: the cache knows the layer: %t", name, ok)
		}
	}
}

// What is wrong leaves nothing behind: neither in the sink nor in the cache.
func TestEarlyGivesUpWithoutATrace(t *testing.T) {
	t.Parallel()
	whole := pipelinetest.Compress(t, pipeline.Gzip, pipelinetest.Tar(t, files("a")...))
	big := pipelinetest.Compress(t, pipeline.Gzip, noise(t, "z"))
	cut := errors.New("the client went away")
	refuse := &refusing{}
	for name, c := range map[string]struct {
		raw     []byte
		end     error
		filters []pipeline.Filter
	}{
		"a config":                  {[]byte(`{"rootfs":{"type":"layers"}}`), nil, []pipeline.Filter{rename{"a", "b"}}},
		"text in gzip":              {pipelinetest.Compress(t, pipeline.Gzip, []byte(strings.Repeat("no tar ", 1000))), nil, []pipeline.Filter{rename{"a", "b"}}},
		"damaged gzip":              {append(bytes.Clone(whole[:len(whole)/2]), 1, 2, 3), nil, []pipeline.Filter{rename{"a/file", "b"}}},
		"a client that left":        {whole, cut, nil},
		"a client that left, big":   {big, cut, []pipeline.Filter{rename{"a", "b"}}},
		"looked at, and left":       {big, cut, []pipeline.Filter{&onlooker{}}},
		"what a watcher refuses":    {whole, nil, []pipeline.Filter{refuse}},
		"a tar that ends too early": {pipelinetest.Tar(t, files("a")...)[:700], nil, []pipeline.Filter{rename{"a", "b"}}},
	} {
		for _, mode := range modes {
			dst, cache := pipelinetest.NewSink(), newMemory()
			l := pipeline.Layer{Open: func(context.Context) (io.ReadCloser, error) {
				return slowly{bytes.NewReader(c.raw), ocispec.Descriptor{Digest: digest.FromBytes(c.raw), Size: int64(len(c.raw))}, c.end, new(bool)}, nil
			}}
			report, err := pipeline.Early(t.Context(), l, c.filters, dst, withCache(cache, mode))
			if err == nil {
				t.Errorf("%s, %s: no error, but %+v", name, mode, report)
			}
			if c.end != nil && !errors.Is(err, c.end) {
				t.Errorf("%s, %s: %v", name, mode, err)
			}
			if len(cache.known) > 0 || dst.Started != dst.Discarded {
				t.Errorf("%s, %s: the cache has %d entries; %d layers began, %d were discarded", name, mode, len(cache.known), dst.Started, dst.Discarded)
			}
		}
	}
}

// A refusing is a watcher that lets nothing through.
type refusing struct{ onlooker }

func (*refusing) Layer(context.Context, pipeline.LayerInfo, tarstream.Handler) (tarstream.Handler, error) {
	return nil, errors.New("refused")
}

func TestFitsEarly(t *testing.T) {
	t.Parallel()
	cached := withCache(newMemory(), "")
	narrow := cached
	narrow.Platforms = pipeline.Platforms{Want: []ocispec.Platform{{OS: "linux", Architecture: "arm64"}}}
	for name, c := range map[string]struct {
		filters []pipeline.Filter
		opts    pipeline.Options
		want    string
	}{
		"nothing":      {nil, all, ""},
		"a filter":     {[]pipeline.Filter{rename{"a", "b"}}, cached, ""},
		"a watcher":    {[]pipeline.Filter{&onlooker{}}, cached, ""},
		"no cache":     {[]pipeline.Filter{rename{"a", "b"}}, all, "cache"},
		"recompressed": {nil, pipeline.Options{Storing: pipeline.Storing{Compression: pipeline.Zstd}}, "cache"},
		"below":        {[]pipeline.Filter{belowFilter{}}, cached, "stands upon"},
		"a platform":   {nil, narrow, "come along"},
	} {
		err := pipeline.FitsEarly(c.filters, c.opts)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

type belowFilter struct{ rename }

func (belowFilter) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: "below", Below: true} }

func TestSettled(t *testing.T) {
	t.Parallel()
	raw := pipelinetest.Compress(t, pipeline.Gzip, pipelinetest.Tar(t, files("a")...))
	d := digest.FromBytes(raw)
	ask := func(dst pipeline.Sink, cache pipeline.Cache, filters ...pipeline.Filter) int64 {
		t.Helper()
		size, ok, err := pipeline.Settled(t.Context(), pipeline.Layer{Blob: ocispec.Descriptor{Digest: d}}, filters, dst, withCache(cache, ""))
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return -1
		}
		return size
	}
	for _, f := range []pipeline.Filter{rename{"a/file", "x"}, rename{"no such file", "x"}} {
		dst, cache := pipelinetest.NewSink(), newMemory()
		if got := ask(dst, cache, f); got != -1 {
			t.Errorf("before: %d", got)
		}
		if _, err := pipeline.Early(t.Context(), arriving(raw), []pipeline.Filter{f}, dst, withCache(cache, "")); err != nil {
			t.Fatal(err)
		}
		for want, got := range map[int64]int64{
			int64(len(raw)): ask(dst, cache, f),
			-1:              ask(pipelinetest.NewSink(), cache, f),
			-2:              ask(dst, cache, rename{"a/file", "y"}) - 1,
			-3:              ask(dst, cache, f, &onlooker{}) - 2, // who wants to see it
			-4:              ask(dst, nil, f) - 3,
		} {
			if got != want {
				t.Errorf("%v: %d, want %d", f, got, want)
			}
		}
	}
}
