package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// rename is a filter that renames one file.
type rename struct{ from, to string }

func (f rename) Recipe() pipeline.Recipe {
	return pipeline.Recipe{Key: "rename:" + f.from + ":" + f.to}
}

func (f rename) Layer(_ context.Context, _ pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	return renamer{next, f}, nil
}

type renamer struct {
	tarstream.Handler
	f rename
}

func (h renamer) Entry(e *tarstream.Entry) error {
	if e.Header().Name == h.f.from {
		e.Edit().Name = h.f.to
	}
	return h.Handler.Entry(e)
}

// labelled is a ConfigFilter.
type labelled struct{}

func (labelled) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: "labelled"} }

func (labelled) Config(_ context.Context, _ ocispec.Descriptor, c []byte) ([]byte, error) {
	return pipeline.EditJSON(c, func(o *pipeline.Object) error { return o.Set("author", "<me>") })
}

func files(n string) []pipelinetest.File {
	return []pipelinetest.File{{Name: n + "/"}, {Name: n + "/file", Body: "content of " + n}}
}

// noise is a layer of incompressible bytes, larger than what a scan remembers,
// whose last entry is called last.
func noise(t testing.TB, last string) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, 1<<20)
	if _, err := r.Read(b); err != nil {
		t.Fatal(err)
	}
	return pipelinetest.Tar(t, pipelinetest.File{Name: "noise", Body: string(b)}, pipelinetest.File{Name: last, Body: "x"})
}

func run(t testing.TB, src pipeline.Source, dst pipeline.Sink, o pipeline.Options, filters ...pipeline.Filter) pipeline.Report {
	t.Helper()
	report, err := pipeline.Run(t.Context(), src, filters, dst, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func published(t testing.TB, s *pipelinetest.Sink) pipeline.Manifest {
	t.Helper()
	if len(s.Published) != 1 {
		t.Fatalf("%d roots were published", len(s.Published))
	}
	return s.Published[0]
}

func manifestOf(t testing.TB, m pipeline.Manifest) (out ocispec.Manifest, config ocispec.Image) {
	t.Helper()
	if err := json.Unmarshal(m.Raw, &out); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(m.Config, &config); err != nil {
		t.Fatal(err)
	}
	return out, config
}

var all = pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}}

func TestUnfilteredImageKeepsEveryDigest(t *testing.T) {
	t.Parallel()
	for _, c := range []pipeline.Compression{pipeline.Plain, pipeline.Gzip, pipeline.Zstd} {
		for _, docker := range []bool{false, true} {
			for _, filters := range [][]pipeline.Filter{nil, {rename{"no such file", "x"}}} {
				t.Run(fmt.Sprintf("%s/docker=%v/%d filters", c, docker, len(filters)), func(t *testing.T) {
					t.Parallel()
					s := pipelinetest.NewStore()
					img := s.Image(t, pipelinetest.Image{Docker: docker, Compression: c, Layers: [][]byte{pipelinetest.Tar(t, files("a")...), noise(t, "z")}})
					idx := s.Index(t, img, s.Attestation(t, img.Digest))
					dst := pipelinetest.NewSink()
					run(t, s.Source(idx, "docker.io/library/a:1"), dst, all, filters...)
					got := published(t, dst)
					if got.Desc.Digest != idx.Digest || !bytes.Equal(got.Raw, s.Bytes(idx.Digest)) || len(dst.Committed) != 3 {
						t.Errorf("published %s of %d manifests, want %s", got.Desc.Digest, len(dst.Committed), idx.Digest)
					}
					if diff := cmp.Diff([]string{"docker.io/library/a:1"}, got.Names); diff != "" {
						t.Error(diff)
					}
				})
			}
		}
	}
}

func TestChangedLayerAloneIsRewritten(t *testing.T) {
	t.Parallel()
	for _, c := range []pipeline.Compression{pipeline.Plain, pipeline.Gzip, pipeline.Zstd} {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.NewStore()
			a, b := pipelinetest.Tar(t, files("a")...), pipelinetest.Tar(t, files("b")...)
			img := s.Image(t, pipelinetest.Image{Compression: c, Layers: [][]byte{a, b}})
			dst := pipelinetest.NewSink()
			report := run(t, s.Source(img), dst, all, rename{"b/file", "b/other"})
			m, config := manifestOf(t, published(t, dst))
			was, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
			if m.Layers[0].Digest != was.Layers[0].Digest || m.Layers[1].Digest == was.Layers[1].Digest {
				t.Errorf("layers became %v", m.Layers)
			}
			want := pipelinetest.Tar(t, files("b")[0], pipelinetest.File{Name: "b/other", Body: "content of b"})
			if diff := cmp.Diff([]digest.Digest{digest.FromBytes(a), digest.FromBytes(want)}, config.RootFS.DiffIDs); diff != "" {
				t.Error(diff)
			}
			if m.Layers[1].MediaType != was.Layers[1].MediaType {
				t.Errorf("media type became %s", m.Layers[1].MediaType)
			}
			how := pipeline.HowRewritten
			if c == pipeline.Gzip { // the zstd layer is one frame
				how = pipeline.HowTranscoded
			}
			if report.Layers[0].How != pipeline.HowCopied || report.Layers[1].How != how {
				t.Errorf("layers went %s and %s", report.Layers[0].How, report.Layers[1].How)
			}
			if s.Opened(was.Layers[1].Digest) != 1 || dst.Discarded != 0 {
				t.Error("an early change must not open the layer twice, nor begin a layer that is discarded")
			}
		})
	}
}

// Edited, a layer is read and written once wherever it changes; compressed anew,
// a late change discards what was sent.
func TestLateChange(t *testing.T) {
	t.Parallel()
	for mode, want := range map[pipeline.Recompress][2]int{
		pipeline.RecompressAuto:      {1, 0},
		pipeline.RecompressCanonical: {2, 1},
	} {
		s := pipelinetest.NewStore()
		img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{noise(t, "last")}})
		dst := pipelinetest.NewSink()
		opts := all
		opts.Recompress = mode
		run(t, s.Source(img), dst, opts, rename{"last", "changed"})
		m, config := manifestOf(t, published(t, dst))
		if want := digest.FromBytes(noise(t, "changed")); config.RootFS.DiffIDs[0] != want {
			t.Errorf("%s: diff ID is %s, want %s", mode, config.RootFS.DiffIDs[0], want)
		}
		was, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
		if got := [2]int{dst.Started, dst.Discarded}; got != want || s.Opened(was.Layers[0].Digest) != want[0] {
			t.Errorf("%s: writers begun and discarded: %v, want %v; opened %d times; %s", mode, got, want, s.Opened(was.Layers[0].Digest), m.Layers[0].Digest)
		}
	}
}

// One pass for ten filters: a layer is opened once and written once.
func TestChangedLayerIsReadOnceForAllFilters(t *testing.T) {
	t.Parallel()
	for _, c := range []pipeline.Compression{pipeline.Plain, pipeline.Gzip, pipeline.Zstd} {
		s, img, was := oneLayer(t, c, pipelinetest.Tar(t, files("a")...))
		dst := pipelinetest.NewSink()
		var chain []pipeline.Filter
		for i := range 10 {
			chain = append(chain, rename{fmt.Sprintf("a/file%.*s", i, "0123456789"), fmt.Sprintf("a/file%.*s", i+1, "0123456789")})
		}
		run(t, s.Source(img), dst, all, chain...)
		_, config := manifestOf(t, published(t, dst))
		want := pipelinetest.Tar(t, files("a")[0], pipelinetest.File{Name: "a/file0123456789", Body: "content of a"})
		if got := config.RootFS.DiffIDs[0]; got != digest.FromBytes(want) || s.Opened(was.Digest) != 1 || dst.Started != 1 {
			t.Errorf("%s: diff ID %s, opened %d times, written %d times", c, got, s.Opened(was.Digest), dst.Started)
		}
	}
}

func TestHeldLayerIsNeverOpened(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...)}})
	was, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
	dst := pipelinetest.NewSink()
	dst.Store.Put("", s.Bytes(was.Layers[0].Digest))
	report := run(t, s.Source(img), dst, all)
	if s.Opened(was.Layers[0].Digest) != 0 || report.Layers[0].How != pipeline.HowHeld || report.Reused == 0 {
		t.Errorf("opened %d times, went %s", s.Opened(was.Layers[0].Digest), report.Layers[0].How)
	}
	run(t, s.Source(img), dst, all, rename{"nothing", "x"})
	if s.Opened(was.Layers[0].Digest) != 1 || dst.Started != 0 {
		t.Error("a filter must see a held layer, and an unchanged held layer must not be sent")
	}
}

func TestRepeatedLayerRunsOnce(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	a := pipelinetest.Tar(t, files("a")...)
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{a, a, a}})
	dst := pipelinetest.NewSink()
	run(t, s.Source(img), dst, all, rename{"a/file", "a/x"})
	m, _ := manifestOf(t, published(t, dst))
	if dst.Started != 1 || m.Layers[0].Digest != m.Layers[2].Digest {
		t.Errorf("%d writers for one layer", dst.Started)
	}
}

func TestSinkChoosesTheEncoding(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		from  pipeline.Compression
		plan  pipeline.Plan
		media string
		how   pipeline.How
	}{
		"zstd wanted":        {pipeline.Gzip, pipeline.Plan{Encoding: pipeline.Encoding{Compression: pipeline.Zstd}}, ocispec.MediaTypeImageLayerZstd, pipeline.HowRecoded},
		"gzip wanted":        {pipeline.Zstd, pipeline.Plan{Encoding: pipeline.Encoding{Compression: pipeline.Gzip}}, ocispec.MediaTypeImageLayerGzip, pipeline.HowRecoded},
		"plain wanted":       {pipeline.Gzip, pipeline.Plan{Encoding: pipeline.Encoding{Compression: pipeline.Plain}}, ocispec.MediaTypeImageLayer, pipeline.HowRecoded},
		"gzip if plain":      {pipeline.Plain, pipeline.Plan{IfPlain: pipeline.Gzip}, ocispec.MediaTypeImageLayerGzip, pipeline.HowRecoded},
		"if plain, it's not": {pipeline.Zstd, pipeline.Plan{IfPlain: pipeline.Gzip}, ocispec.MediaTypeImageLayerZstd, pipeline.HowCopied},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.NewStore()
			a := pipelinetest.Tar(t, files("a")...)
			img := s.Image(t, pipelinetest.Image{Compression: c.from, Layers: [][]byte{a}})
			dst := pipelinetest.NewSink()
			dst.Wants = c.plan
			report := run(t, s.Source(img), dst, all)
			m, config := manifestOf(t, published(t, dst))
			if got := report.Layers[0].Result.MediaType; got != c.media {
				t.Errorf("the report says that it became %s", got)
			}
			if m.Layers[0].MediaType != c.media || report.Layers[0].How != c.how || config.RootFS.DiffIDs[0] != digest.FromBytes(a) {
				t.Errorf("it became %s, %s", m.Layers[0].MediaType, report.Layers[0].How)
			}
		})
	}
}

func TestDockerManifestWithZstdBecomesOCI(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Docker: true, Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...)}})
	dst := pipelinetest.NewSink()
	dst.Wants.Encoding.Compression = pipeline.Zstd
	run(t, s.Source(img), dst, all)
	got := published(t, dst)
	m, _ := manifestOf(t, got)
	if got.Desc.MediaType != ocispec.MediaTypeImageManifest || m.MediaType != ocispec.MediaTypeImageManifest ||
		m.Config.MediaType != ocispec.MediaTypeImageConfig || m.Layers[0].MediaType != ocispec.MediaTypeImageLayerZstd {
		t.Errorf("got %s", got.Raw)
	}
}

func TestMagicIsTrustedNotTheMediaType(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	a := pipelinetest.Tar(t, files("a")...)
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{a}})
	lying := bytes.ReplaceAll(s.Bytes(img.Digest), []byte("tar+gzip"), []byte("tar"))
	desc := s.Put(img.MediaType, lying)
	dst := pipelinetest.NewSink()
	run(t, s.Source(desc), dst, all, rename{"a/file", "a/x"})
	m, _ := manifestOf(t, published(t, dst))
	if m.Layers[0].MediaType != ocispec.MediaTypeImageLayerGzip {
		t.Errorf("a rewritten gzip layer is called %s", m.Layers[0].MediaType)
	}
}

func TestWrongBytesFailAndPublishNothing(t *testing.T) {
	t.Parallel()
	good := pipelinetest.Tar(t, files("a")...)
	cases := map[string]struct {
		damage  func(s *pipelinetest.Store, m ocispec.Manifest)
		filters []pipeline.Filter
		want    error
	}{
		"blob": {func(s *pipelinetest.Store, m ocispec.Manifest) {
			s.Corrupt(m.Layers[0].Digest, bytes.Repeat([]byte("x"), int(m.Layers[0].Size)))
		}, nil, pipeline.ErrDigest},
		"blob with more bytes": {func(s *pipelinetest.Store, m ocispec.Manifest) {
			s.Corrupt(m.Layers[0].Digest, append(s.Bytes(m.Layers[0].Digest), 'x'))
		}, nil, pipeline.ErrDigest},
		"blob cut short": {func(s *pipelinetest.Store, m ocispec.Manifest) {
			s.Corrupt(m.Layers[0].Digest, s.Bytes(m.Layers[0].Digest)[:20])
		}, []pipeline.Filter{rename{"x", "y"}}, io.ErrUnexpectedEOF},
		"config":  {func(s *pipelinetest.Store, m ocispec.Manifest) { s.Corrupt(m.Config.Digest, []byte("{}")) }, nil, pipeline.ErrDigest},
		"no blob": {func(s *pipelinetest.Store, m ocispec.Manifest) { s.Delete(m.Layers[0].Digest) }, nil, pipeline.ErrNotFound},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.NewStore()
			img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{good}})
			m, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
			c.damage(s, m)
			dst := pipelinetest.NewSink()
			_, err := pipeline.Run(t.Context(), s.Source(img), c.filters, dst, all)
			var side *pipeline.Error
			if !errors.Is(err, c.want) || !errors.As(err, &side) || side.Side != pipeline.SourceSide {
				t.Errorf("got %v, want %v of the source", err, c.want)
			}
			if len(dst.Published) != 0 || !dst.Closed || dst.Started != dst.Discarded {
				t.Error("something was published or left open")
			}
		})
	}
}

func TestWrongDiffIDFailsWhereTheTarIsRead(t *testing.T) {
	t.Parallel()
	for _, f := range []rename{{"nothing", "x"}, {"a/file", "x"}} {
		s := pipelinetest.NewStore()
		a := pipelinetest.Tar(t, files("a")...)
		img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{a}})
		m, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
		lie := bytes.ReplaceAll(s.Bytes(m.Config.Digest), []byte(digest.FromBytes(a)), []byte(digest.FromString("lie")))
		config := s.Put(m.Config.MediaType, lie)
		raw := bytes.ReplaceAll(s.Bytes(img.Digest), []byte(m.Config.Digest), []byte(config.Digest))
		_, err := pipeline.Run(t.Context(), s.Source(s.Put(img.MediaType, raw)), []pipeline.Filter{f}, pipelinetest.NewSink(), all)
		if !errors.Is(err, pipeline.ErrDigest) || !strings.Contains(err.Error(), "diff ID") {
			t.Errorf("got %v", err)
		}
	}
}

type passing struct{ error }

func (passing) Temporary() bool { return true }

func TestLayerRunsAgainAfterAnErrorThatMayPass(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...)}})
	for retries, want := range []bool{false, true} {
		var once atomic.Bool
		dst := pipelinetest.NewSink()
		dst.Refuse = func(int) error {
			if once.CompareAndSwap(false, true) {
				return passing{errors.New("cut")}
			}
			return nil
		}
		o := all
		o.Retries = retries
		_, err := pipeline.Run(t.Context(), s.Source(img), nil, dst, o)
		if (err == nil) != want {
			t.Errorf("with %d retries: %v", retries, err)
		}
	}
}

func TestEveryFailedLayerIsReported(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...), pipelinetest.Tar(t, files("b")...)}})
	var both sync.WaitGroup
	both.Add(2)
	dst := pipelinetest.NewSink()
	dst.Refuse = func(seq int) error {
		both.Done()
		both.Wait()
		return fmt.Errorf("refused %d", seq)
	}
	_, err := pipeline.Run(t.Context(), s.Source(img), nil, dst, all)
	if err == nil || !strings.Contains(err.Error(), "refused 0") || !strings.Contains(err.Error(), "refused 1") {
		t.Errorf("got %v", err)
	}
	if len(dst.Committed) != 0 {
		t.Error("a manifest was committed")
	}
}

// interruptedSink refuses its first layer when the second is on its way, which
// then says what interrupted it, as a connection does.
type interruptedSink struct {
	*pipelinetest.Sink
	second chan struct{}
}

func (s *interruptedSink) Layer(ctx context.Context, seq int, _ pipeline.Layer) (pipeline.LayerWriter, error) {
	if seq == 0 {
		<-s.second
		return nil, errors.New("refused")
	}
	close(s.second)
	<-ctx.Done()
	return nil, fmt.Errorf("connect: %w", context.Cause(ctx))
}

func TestInterruptedLayersDoNotRepeatTheError(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...), pipelinetest.Tar(t, files("b")...)}})
	_, err := pipeline.Run(t.Context(), s.Source(img), nil, &interruptedSink{pipelinetest.NewSink(), make(chan struct{})}, all)
	if err == nil || strings.Count(err.Error(), "refused") != 1 || strings.Contains(err.Error(), "connect") {
		t.Errorf("got %v", err)
	}
}

// A place that cannot be written refuses every layer, and says so once.
func TestLayersDoNotRepeatOneAnother(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...), pipelinetest.Tar(t, files("b")...)}})
	var both sync.WaitGroup
	both.Add(2)
	dst := pipelinetest.NewSink()
	dst.Refuse = func(int) error {
		both.Done()
		both.Wait()
		return errors.New("no such directory")
	}
	_, err := pipeline.Run(t.Context(), s.Source(img), nil, dst, all)
	if err == nil || strings.Count(err.Error(), "no such directory") != 1 || !strings.HasPrefix(err.Error(), "layer ") {
		t.Errorf("got %v", err)
	}
}

func TestUnknownConfigFieldsSurvive(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	a := pipelinetest.Tar(t, files("a")...)
	config := s.Put(ocispec.MediaTypeImageConfig, []byte(`{"vendor": {"z":1, "a":[ 2 ]}, "os":"linux","architecture":"amd64", "big":12345678901234567890,
 "rootfs":{"type":"layers","extra":true,"diff_ids":["`+digest.FromBytes(a).String()+`"]}, "history":[{"created_by":"a && b > c"}]}`))
	layer := s.Put(ocispec.MediaTypeImageLayerGzip, pipelinetest.Compress(t, pipeline.Gzip, a))
	img := s.Put(ocispec.MediaTypeImageManifest, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"x":[1],"config":{"mediaType":%q,"digest":%q,"size":%d,"y":2},
 "layers":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"k":"v","containerd.io/snapshot/stargz/toc.digest":"sha256:0"}}]}`,
		ocispec.MediaTypeImageManifest, config.MediaType, config.Digest, config.Size, layer.MediaType, layer.Digest, layer.Size))
	dst := pipelinetest.NewSink()
	run(t, s.Source(img), dst, all, rename{"a/file", "a/x"}, labelled{})
	got := published(t, dst)
	m, c := manifestOf(t, got)
	want := strings.Replace(string(s.Bytes(config.Digest)), digest.FromBytes(a).String(), c.RootFS.DiffIDs[0].String(), 1)
	want = strings.TrimSuffix(strings.ReplaceAll(want, "\n ", " "), "}") + `,"author":"<me>"}`
	compact := func(s string) string { return strings.NewReplacer(" ", "", "\n", "").Replace(s) }
	if compact(string(got.Config)) != compact(want) {
		t.Errorf("config\n%s\nwant\n%s", got.Config, want)
	}
	for _, keep := range []string{`"x":[1]`, `"y":2`, `"annotations":{"k":"v"}`} {
		if !strings.Contains(string(got.Raw), keep) {
			t.Errorf("%s is gone from %s", keep, got.Raw)
		}
	}
	if m.Config.Digest != digest.FromBytes(got.Config) {
		t.Error("the manifest names another config")
	}
}

func TestAttestationsOfChangedImages(t *testing.T) {
	t.Parallel()
	for _, policy := range []pipeline.Attestations{pipeline.AttestationsDrop, pipeline.AttestationsKeep} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.NewStore()
			changed := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...)}})
			same := s.Image(t, pipelinetest.Image{Platform: "linux/arm64", Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("b")...)}})
			idx := s.Index(t, changed, same, s.Attestation(t, changed.Digest), s.Attestation(t, same.Digest))
			dst := pipelinetest.NewSink()
			o := all
			o.Attestations = policy
			report := run(t, s.Source(idx), dst, o, rename{"a/file", "a/x"})
			var got ocispec.Index
			if err := json.Unmarshal(published(t, dst).Raw, &got); err != nil {
				t.Fatal(err)
			}
			refs := map[string]bool{}
			for _, m := range got.Manifests {
				refs[m.Annotations["vnd.docker.reference.digest"]] = true
			}
			keep := policy == pipeline.AttestationsKeep
			if got.Manifests[0].Digest == changed.Digest || got.Manifests[1].Digest != same.Digest || !refs[same.Digest.String()] {
				t.Errorf("index is %+v", got.Manifests)
			}
			if refs[got.Manifests[0].Digest.String()] != keep || (len(report.Dropped) == 0) != keep {
				t.Errorf("attestation kept = %v, dropped: %v", refs[got.Manifests[0].Digest.String()], report.Dropped)
			}
		})
	}
}

func TestSameBytesForAnyParallelism(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	var layers [][]byte
	for i := range 12 {
		layers = append(layers, pipelinetest.Tar(t, pipelinetest.File{Name: "f", Body: strings.Repeat(fmt.Sprint(i), 1000*i)}))
	}
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layers})
	want := digest.Digest("")
	for _, parallel := range []int{1, 3, 16} {
		dst := pipelinetest.NewSink()
		o := all
		o.Parallel = parallel
		run(t, s.Source(img), dst, o, rename{"f", "g"})
		got := published(t, dst).Desc.Digest
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("-j %d gives %s, -j 1 %s", parallel, got, want)
		}
	}
}

func TestCancelledRunPublishesNothing(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{noise(t, "a"), pipelinetest.Tar(t, files("b")...)}})
	ctx, cancel := context.WithCancel(t.Context())
	dst := pipelinetest.NewSink()
	dst.Refuse = func(int) error { cancel(); return nil }
	_, err := pipeline.Run(ctx, s.Source(img), nil, dst, all)
	if !errors.Is(err, context.Canceled) || len(dst.Published) != 0 || !dst.Closed {
		t.Errorf("got %v, %d published", err, len(dst.Published))
	}
}

func TestLayerLimit(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "bomb", Body: strings.Repeat("\x00", 1<<20)})}})
	o := all
	o.Limits.Layer = 1 << 19
	_, err := pipeline.Run(t.Context(), s.Source(img), []pipeline.Filter{rename{"x", "y"}}, pipelinetest.NewSink(), o)
	if !errors.Is(err, pipeline.ErrLimit) || !strings.Contains(err.Error(), "--max-layer-size") {
		t.Error(err)
	}
}
