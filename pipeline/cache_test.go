package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// memory is a cache in memory.
type memory struct {
	mu    sync.Mutex
	known map[string]pipeline.CachedLayer
}

func newMemory() *memory { return &memory{known: map[string]pipeline.CachedLayer{}} }

func (m *memory) Lookup(k pipeline.CacheKey) (pipeline.CachedLayer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.known[k.Layer.String()+" "+k.Recipe]
	return l, ok
}

func (m *memory) Record(k pipeline.CacheKey, l pipeline.CachedLayer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[k.Layer.String()+" "+k.Recipe] = l
}

// recipes are those of outcomes.
func (m *memory) recipes() []string {
	seen := map[string]bool{}
	for k := range m.known {
		if _, recipe, _ := strings.Cut(k, " "); recipe != "" {
			seen[recipe] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// again is a sink that holds what another one got.
func again(s *pipelinetest.Sink) *pipelinetest.Sink {
	n := pipelinetest.NewSink()
	n.Store, n.Wants, n.Holds = s.Store, s.Wants, s.Holds
	return n
}

func withCache(c pipeline.Cache, mode pipeline.Recompress) pipeline.Options {
	o := all
	o.Cache, o.Recompress = c, mode
	return o
}

func hows(r pipeline.Report) (out []pipeline.How) {
	for _, l := range r.Layers {
		out = append(out, l.How)
	}
	return out
}

// opened counts how often any blob of an image's layers was opened.
func opened(t testing.TB, s *pipelinetest.Store, img ocispec.Descriptor) (n int) {
	t.Helper()
	m, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
	for _, l := range m.Layers {
		n += s.Opened(l.Digest)
	}
	return n
}

var modes = []pipeline.Recompress{pipeline.RecompressTranscode, pipeline.RecompressCanonical}

func TestCachedLayerIsNeitherReadNorSent(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		for _, c := range []pipeline.Compression{pipeline.Plain, pipeline.Gzip, pipeline.Zstd} {
			for _, wants := range []pipeline.Compression{"", pipeline.Gzip} {
				t.Run(fmt.Sprintf("%s/%s to %q", mode, c, wants), func(t *testing.T) {
					t.Parallel()
					s := pipelinetest.NewStore()
					img := s.Image(t, pipelinetest.Image{Compression: c, Layers: [][]byte{pipelinetest.Tar(t, files("a")...), noise(t, "z")}})
					cache, filter := newMemory(), rename{"a/file", "a/other"}
					first := pipelinetest.NewSink()
					first.Wants.Encoding.Compression = wants
					run(t, s.Source(img), first, withCache(cache, mode), filter)
					before := opened(t, s, img)
					second := again(first)
					report := run(t, s.Source(img), second, withCache(cache, mode), filter)
					if diff := cmp.Diff([]pipeline.How{pipeline.HowCached, pipeline.HowCached}, hows(report)); diff != "" {
						t.Error(diff)
					}
					if opened(t, s, img) != before || second.Started != 0 {
						t.Errorf("%d layers were read again, %d were sent", opened(t, s, img)-before, second.Started)
					}
					if report.Read != 0 || report.Reused == 0 {
						t.Errorf("the report has %d bytes read, %d reused", report.Read, report.Reused)
					}
					if diff := cmp.Diff(published(t, first), published(t, second)); diff != "" {
						t.Errorf("another image was published: %s", diff)
					}
				})
			}
		}
	}
}

// The config of an image all of whose layers are cached must have their new diff
// IDs: the original kept the old ones.
func TestConfigHasTheDiffIDsOfCachedLayers(t *testing.T) {
	t.Parallel()
	s, img, _ := oneLayer(t, pipeline.Gzip, pipelinetest.Tar(t, files("a")...))
	cache, filter := newMemory(), rename{"a/file", "a/other"}
	first := pipelinetest.NewSink()
	run(t, s.Source(img), first, withCache(cache, ""), filter)
	second := again(first)
	report := run(t, s.Source(img), second, withCache(cache, ""), filter)
	m, config := manifestOf(t, published(t, second))
	if got := plainDigest(t, second.Store.Bytes(m.Layers[0].Digest)); config.RootFS.DiffIDs[0] != got || report.Layers[0].ResultDiffID != got {
		t.Errorf("the config says %s, the report %s, the layer is %s", config.RootFS.DiffIDs[0], report.Layers[0].ResultDiffID, got)
	}
}

func plainDigest(t testing.TB, stored []byte) digest.Digest {
	t.Helper()
	r, _, err := codec.NewReader(bytes.NewReader(stored))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return digest.FromBytes(plain)
}

func TestCachedOutcomeThatIsGoneIsMadeAgain(t *testing.T) {
	t.Parallel()
	s, img, _ := oneLayer(t, pipeline.Gzip, pipelinetest.Tar(t, files("a")...))
	cache, filter := newMemory(), rename{"a/file", "a/other"}
	first, second := pipelinetest.NewSink(), pipelinetest.NewSink()
	run(t, s.Source(img), first, withCache(cache, ""), filter)
	report := run(t, s.Source(img), second, withCache(cache, ""), filter)
	if diff := cmp.Diff([]pipeline.How{pipeline.HowTranscoded}, hows(report)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(published(t, first), published(t, second)); diff != "" {
		t.Error(diff)
	}
}

func TestOtherRecipeIsNotFoundInTheCache(t *testing.T) {
	t.Parallel()
	s, img, _ := oneLayer(t, pipeline.Gzip, pipelinetest.Tar(t, files("a")...))
	filter := rename{"a/file", "a/other"}
	cache, first := newMemory(), pipelinetest.NewSink()
	run(t, s.Source(img), first, withCache(cache, pipeline.RecompressTranscode), filter)
	for name, other := range map[string]struct {
		mode    pipeline.Recompress
		enc     pipeline.Encoding
		filters []pipeline.Filter
	}{
		"another filter":                 {pipeline.RecompressTranscode, pipeline.AsItCame, []pipeline.Filter{rename{"a/file", "b"}}},
		"one more filter":                {pipeline.RecompressTranscode, pipeline.AsItCame, []pipeline.Filter{filter, rename{"a/other", "b"}}},
		"another compression":            {pipeline.RecompressTranscode, pipeline.Encoding{Compression: pipeline.Zstd}, []pipeline.Filter{filter}},
		"another level":                  {pipeline.RecompressCanonical, pipeline.Encoding{Compression: pipeline.Gzip, Level: 9}, []pipeline.Filter{filter}},
		"compressed anew":                {pipeline.RecompressCanonical, pipeline.AsItCame, []pipeline.Filter{filter}},
		"no filter, another compression": {"", pipeline.Encoding{Compression: pipeline.Zstd}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dst := again(first)
			dst.Wants.Encoding = other.enc
			known := newMemory()
			maps.Copy(known.known, cache.known)
			report := run(t, s.Source(img), dst, withCache(known, other.mode), other.filters...)
			if how := report.Layers[0].How; how == pipeline.HowCached {
				t.Error("it was taken from the cache")
			}
		})
	}
}

func TestParallelLayersAreRecordedUnderTheirOwnDiffID(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	var layers [][]byte
	for i := range 40 {
		layers = append(layers, pipelinetest.Tar(t, pipelinetest.File{Name: "f", Body: strings.Repeat(fmt.Sprint(i), 1+i*500%7000)}))
	}
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layers})
	cache, dst, opts := newMemory(), pipelinetest.NewSink(), withCache(nil, pipeline.RecompressCanonical)
	opts.Cache, opts.Parallel = cache, 16
	report := run(t, s.Source(img), dst, opts, rename{"f", "g"})
	for i, l := range report.Layers {
		k := pipeline.CacheKey{Layer: digest.FromBytes(layers[i]), Recipe: "rename:f:g | tar/1 | canonical/1 gzip"}
		got, ok := cache.Lookup(k)
		if !ok || got.Blob.Digest != l.Result.Digest || got.DiffID != plainDigest(t, dst.Store.Bytes(got.Blob.Digest)) {
			t.Errorf("layer %d became %s, recorded is %s with diff ID %s (%v)", i, l.Result.Digest, got.Blob.Digest, got.DiffID, ok)
		}
	}
}

// onlooker is a Watcher that writes down names, and may refuse a layer.
type onlooker struct {
	refuse error
	mu     sync.Mutex
	names  []string
	done   int
}

func (w *onlooker) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: "onlooker"} }

func (w *onlooker) Layer(_ context.Context, _ pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names = nil
	return onlooking{next, w}, nil
}

func (w *onlooker) Images([]pipeline.ImageLayers) error { return nil }

func (w *onlooker) Done(pipeline.LayerSeen) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done++
	return nil
}

type onlooking struct {
	tarstream.Handler
	w *onlooker
}

func (h onlooking) Entry(e *tarstream.Entry) error {
	h.w.mu.Lock()
	h.w.names = append(h.w.names, e.Header().Name)
	h.w.mu.Unlock()
	return errors.Join(h.w.refuse, h.Handler.Entry(e))
}

func TestWatchersSeeCachedLayers(t *testing.T) {
	t.Parallel()
	for _, watcherFirst := range []bool{true, false} {
		s, img, layer := oneLayer(t, pipeline.Gzip, pipelinetest.Tar(t, files("a")...))
		cache, filter := newMemory(), rename{"a/file", "a/other"}
		first := pipelinetest.NewSink()
		run(t, s.Source(img), first, withCache(cache, ""), filter)
		w := &onlooker{}
		filters := []pipeline.Filter{filter, w}
		if watcherFirst {
			filters = []pipeline.Filter{w, filter}
		}
		before, second := s.Opened(layer.Digest), again(first)
		report := run(t, s.Source(img), second, withCache(cache, ""), filters...)
		if report.Layers[0].How != pipeline.HowCached || second.Started != 0 || s.Opened(layer.Digest) != before+1 {
			t.Errorf("it was %s, opened %d times, sent %d times", report.Layers[0].How, s.Opened(layer.Digest)-before, second.Started)
		}
		want := map[bool]string{true: "a/ a/file", false: "a/ a/other"}[watcherFirst]
		if got := strings.Join(w.names, " "); got != want {
			t.Errorf("the watcher saw %q, want %q", got, want)
		}
		if w.done != 1 {
			t.Errorf("the watcher was told %d times that the layer is done", w.done)
		}
		w = &onlooker{refuse: errors.New("no")}
		if _, err := pipeline.Run(t.Context(), s.Source(img), []pipeline.Filter{filter, w}, again(first), withCache(cache, "")); !errors.Is(err, w.refuse) {
			t.Errorf("the watcher's error became %v", err)
		}
	}
}

func TestLayerUponOthersIsCachedApart(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	top := pipelinetest.Tar(t, files("top")...)
	one := s.Image(t, pipelinetest.Image{Layers: [][]byte{pipelinetest.Tar(t, files("a")...), top}})
	two := s.Image(t, pipelinetest.Image{Layers: [][]byte{pipelinetest.Tar(t, files("b")...), top}})
	cache, first := newMemory(), pipelinetest.NewSink()
	run(t, s.Source(one), first, withCache(cache, ""), stamp{})
	for img, want := range map[digest.Digest]pipeline.How{one.Digest: pipeline.HowCached, two.Digest: pipeline.HowRewritten} {
		desc := map[digest.Digest]ocispec.Descriptor{one.Digest: one, two.Digest: two}[img]
		if report := run(t, s.Source(desc), again(first), withCache(cache, ""), stamp{}); report.Layers[1].How != want {
			t.Errorf("the layer was %s, want %s", report.Layers[1].How, want)
		}
	}
}

// Who put a diff ID of another layer into a config does not get that layer's
// outcome where the blob was seen to hold something else.
func TestLyingConfigIsNotCovered(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	good := pipelinetest.Tar(t, files("a")...)
	filter := rename{"a/file", "a/other"}
	cache, first := newMemory(), pipelinetest.NewSink()
	opts := withCache(cache, pipeline.RecompressCanonical)
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{good}})
	evil := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("evil")...)}})
	run(t, s.Source(img), first, opts, filter)
	run(t, s.Source(evil), again(first), opts, filter)
	m, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(evil.Digest), Config: []byte("{}")})
	lying := s.LyingImage(t, good, s.Bytes(m.Layers[0].Digest))
	if _, err := pipeline.Run(t.Context(), s.Source(lying), []pipeline.Filter{filter}, again(first), opts); !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("the error is %v", err)
	}
}

// A filter that has left a layer alone has not seen another blob of which a config
// says that it is that layer: it could hold just what the filter removes.
func TestLyingConfigDoesNotKeepALayerFromTheFilters(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	good := pipelinetest.Tar(t, files("a")...)
	filter := rename{"evil/file", "evil/other"}
	cache, first := newMemory(), pipelinetest.NewSink()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{good}})
	run(t, s.Source(img), first, withCache(cache, ""), filter)
	evil := s.Put("", pipelinetest.Compress(t, pipeline.Gzip, pipelinetest.Tar(t, files("evil")...)))
	lying := s.LyingImage(t, good, s.Bytes(evil.Digest))
	dst := again(first)
	dst.Store.Put("", s.Bytes(evil.Digest)) // somebody has pushed it already
	if _, err := pipeline.Run(t.Context(), s.Source(lying), []pipeline.Filter{filter}, dst, withCache(cache, "")); !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("the error is %v", err)
	}
}

// reopening is a sink that gives back what it holds.
type reopening struct{ *pipelinetest.Sink }

func (r reopening) Open(ctx context.Context, blob ocispec.Descriptor) (io.ReadCloser, error) {
	return r.Store.Open(ctx, blob)
}

func TestClaimCountsWhenItWasHashed(t *testing.T) {
	t.Parallel()
	plain := pipelinetest.Tar(t, files("a")...)
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Layers: [][]byte{plain}})
	key := pipeline.CacheKey{Layer: digest.FromBytes(plain), Recipe: "canonical/1 gzip"}
	for name, c := range map[string]struct {
		holds []byte
		opens bool
		want  pipeline.How
		warns int
	}{
		"true":                   {plain, true, pipeline.HowCached, 0},
		"false":                  {pipelinetest.Tar(t, files("b")...), true, pipeline.HowRecoded, 1},
		"true, and not readable": {plain, false, pipeline.HowRecoded, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dst, cache := pipelinetest.NewSink(), newMemory()
			dst.Wants.IfPlain = pipeline.Gzip
			held := dst.Store.Put("", pipelinetest.Compress(t, pipeline.Gzip, c.holds))
			cache.Record(key, pipeline.CachedLayer{Blob: held, Compression: pipeline.Gzip, DiffID: key.Layer, Claimed: true})
			opts, warnings := withCache(cache, ""), 0
			opts.Events = func(e pipeline.Event) {
				if e.Kind == pipeline.EventWarning {
					warnings++
				}
			}
			var sink pipeline.Sink = dst
			if c.opens {
				sink = reopening{dst}
			}
			if report := run(t, s.Source(img), sink, opts); report.Layers[0].How != c.want || warnings != c.warns {
				t.Errorf("it was %s with %d warnings", report.Layers[0].How, warnings)
			}
			if l, _ := cache.Lookup(key); l.Claimed {
				t.Error("the claim is still one")
			}
		})
	}
}
