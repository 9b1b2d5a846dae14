package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/ulikunitz/xz"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// stamp is a filter whose output depends on the layers below.
type stamp struct{}

func (stamp) Recipe() pipeline.Recipe { return pipeline.Recipe{Key: "stamp", Below: true} }

func (stamp) Layer(_ context.Context, l pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	below := "nothing"
	if n := len(l.Parents); n > 0 {
		below = l.Parents[n-1].Blob.Digest.Encoded()
	}
	return renamer{next, rename{"top/file", below}}, nil
}

func TestLayerUponOthersIsAnotherLayerForAFilterThatLooksBelow(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	top := pipelinetest.Tar(t, files("top")...)
	amd := s.Image(t, pipelinetest.Image{Layers: [][]byte{pipelinetest.Tar(t, files("a")...), top}})
	arm := s.Image(t, pipelinetest.Image{Platform: "linux/arm64", Layers: [][]byte{pipelinetest.Tar(t, files("b")...), top}})
	dst := pipelinetest.NewSink()
	run(t, s.Source(s.Index(t, amd, arm)), dst, all, stamp{})
	for _, m := range dst.Committed {
		if m.Config == nil {
			continue
		}
		got, _ := manifestOf(t, m)
		if !bytes.Contains(dst.Store.Bytes(got.Layers[1].Digest), []byte(got.Layers[0].Digest.Encoded())) {
			t.Errorf("the upper layer of %s was made for another image", m.Desc.Digest)
		}
	}
}

// twoUses is an index of two images with one layer, that is foreign in one.
func twoUses(t *testing.T, foreignFirst bool) (*pipelinetest.Store, ocispec.Descriptor, digest.Digest) {
	s := pipelinetest.NewStore()
	layer := pipelinetest.Tar(t, files("a")...)
	var entries []ocispec.Descriptor
	var blob ocispec.Descriptor
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		img := s.Image(t, pipelinetest.Image{Platform: platform, Compression: pipeline.Gzip, Layers: [][]byte{layer}})
		m, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
		if foreignFirst == (platform == "linux/amd64") {
			m.Layers[0].URLs = []string{"https://example.invalid/layer"}
			p := img.Platform
			img = s.PutJSON(t, img.MediaType, m)
			img.Platform = p
		}
		blob = m.Layers[0]
		entries = append(entries, img)
	}
	return s, s.Index(t, entries...), blob.Digest
}

func TestBlobThatIsForeignInOneImageOnlyIsCarried(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		for _, filters := range [][]pipeline.Filter{nil, {rename{"a/file", "a/x"}}} {
			s, idx, blob := twoUses(t, first)
			dst := pipelinetest.NewSink()
			run(t, s.Source(idx), dst, all, filters...)
			for _, m := range dst.Committed {
				if m.Config == nil {
					continue
				}
				got, _ := manifestOf(t, m)
				l := got.Layers[0]
				if foreign := len(l.URLs) > 0; foreign != (l.Digest == blob && foreign) || !foreign && dst.Store.Bytes(l.Digest) == nil {
					t.Errorf("foreign first %v, %d filters: layer is %+v", first, len(filters), l)
				}
			}
		}
	}
}

func TestBlobThatIsAnArtifactsAndALayerIsBoth(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...)}})
	m, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(img.Digest), Config: []byte("{}")})
	artifact := s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: s.Put("application/vnd.example", []byte("{}")), Layers: m.Layers,
	})
	for _, order := range [][]ocispec.Descriptor{{artifact, img}, {img, artifact}} {
		dst := pipelinetest.NewSink()
		run(t, s.Source(s.Index(t, order...)), dst, all, rename{"a/file", "a/x"})
		if dst.Store.Bytes(m.Layers[0].Digest) == nil || len(dst.Committed) != 3 {
			t.Errorf("%d manifests, the artifact's blob is not as it was", len(dst.Committed))
		}
	}
}

// early is a source that yields blobs before it knows what they are.
type early struct {
	*pipelinetest.Source
}

type earlyGraph struct{ pipeline.Graph }

func (e *early) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	g, err := e.Source.Open(ctx, q)
	return earlyGraph{g}, err
}

func (g earlyGraph) Layers(ctx context.Context) iter.Seq2[pipeline.Layer, error] {
	return func(yield func(pipeline.Layer, error) bool) {
		for l, err := range g.Graph.Layers(ctx) {
			l.Role, l.DiffID, l.Parents, l.Blob.MediaType = pipeline.Unknown, "", nil, ""
			if !yield(l, err) {
				return
			}
		}
	}
}

func TestUnknownBlobMayBeAnything(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{
		"small JSON": []byte(`{"a":1}`), "gzip of JSON": pipelinetest.Compress(t, pipeline.Gzip, []byte(`{"a":1}`)),
		"broken gzip": {0x1f, 0x8b, 8, 0, 1, 2, 3}, "text": bytes.Repeat([]byte("text "), 1000), "tar": pipelinetest.Tar(t, files("a")...),
	} {
		for _, plan := range []pipeline.Plan{{}, {IfPlain: pipeline.Gzip}, {Encoding: pipeline.Encoding{Compression: pipeline.Plain}}} {
			t.Run(fmt.Sprint(name, plan), func(t *testing.T) {
				t.Parallel()
				s := pipelinetest.NewStore()
				blob := s.Put("application/octet-stream", body)
				artifact := s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
					Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
					Config: s.Put("application/vnd.example", []byte("{}")), Layers: []ocispec.Descriptor{blob},
				})
				dst := pipelinetest.NewSink()
				dst.Wants = plan
				run(t, &early{Source: s.Source(artifact)}, dst, all, rename{"a/file", "a/x"})
				if published(t, dst).Desc.Digest != artifact.Digest || dst.Store.Bytes(blob.Digest) == nil {
					t.Error("the artifact is not as it was")
				}
			})
		}
	}
}

func TestUnknownBlobThatIsALayerMustBeATar(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Layers: [][]byte{[]byte("this is no tar")}})
	_, err := pipeline.Run(t.Context(), &early{Source: s.Source(img)}, []pipeline.Filter{rename{"x", "y"}}, pipelinetest.NewSink(), all)
	if !errors.Is(err, tarstream.ErrFormat) && !strings.Contains(fmt.Sprint(err), "unexpected EOF") {
		t.Errorf("got %v", err)
	}
}

func TestAttestationsStandAnywhere(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...)}})
	first := s.Attestation(t, img.Digest)
	second := s.Attestation(t, first.Digest)
	stranger := s.Attestation(t, digest.FromString("elsewhere"))
	inner := s.Index(t, img)
	for name, entries := range map[string][]ocispec.Descriptor{
		"after": {img, first}, "before": {first, img}, "of one another": {second, first, img},
		"of a stranger": {img, stranger}, "of what is in an inner index": {first, inner},
	} {
		idx := s.Index(t, entries...)
		dst := pipelinetest.NewSink()
		run(t, s.Source(idx), dst, all)
		if got := published(t, dst); got.Desc.Digest != idx.Digest {
			t.Errorf("%s: an index that nothing changed became %s", name, got.Raw)
		}
		dst = pipelinetest.NewSink()
		run(t, s.Source(idx), dst, all, rename{"a/file", "a/x"})
		var got ocispec.Index
		if err := json.Unmarshal(published(t, dst).Raw, &got); err != nil {
			t.Fatal(err)
		}
		for _, m := range got.Manifests {
			if m.Annotations["vnd.docker.reference.digest"] == img.Digest.String() {
				t.Errorf("%s: an attestation of the image as it was is left", name)
			}
		}
	}
}

func TestArtifactOfAChangedImageLeavesWhereverItStands(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files("a")...)}})
	signature := s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Subject: &img,
		Config: s.Put("application/vnd.example", []byte("{}")), Layers: []ocispec.Descriptor{s.Put("application/json", []byte("signed"))},
	})
	for _, entries := range [][]ocispec.Descriptor{{img, signature}, {signature, img}} {
		dst := pipelinetest.NewSink()
		report := run(t, s.Source(s.Index(t, entries...)), dst, all, rename{"a/file", "a/x"})
		if len(dst.Committed) != 2 || len(report.Dropped) != 1 {
			t.Errorf("%d manifests, dropped %v", len(dst.Committed), report.Dropped)
		}
	}
}

func TestKeysThatCouldBeTakenForOthersAreRefused(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`{"layer\u017f":[]}`, `{"Layers":[]}`, `{"layers":[],"layer` + "ſ" + `":[]}`, `{"manifest` + "ſ" + `":[]}`} {
		if _, err := pipeline.ParseObject([]byte(raw)); err == nil {
			t.Errorf("%s was accepted", raw)
		}
	}
}

func TestXZLayerIsRewrittenAsGzip(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	plain := pipelinetest.Tar(t, files("a")...)
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer := s.Put(ocispec.MediaTypeImageLayer, b.Bytes())
	config := s.PutJSON(t, ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(plain)}},
	})
	img := s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer},
	})
	dst := pipelinetest.NewSink()
	run(t, s.Source(img), dst, all, rename{"a/file", "a/x"})
	if m, _ := manifestOf(t, published(t, dst)); m.Layers[0].MediaType != ocispec.MediaTypeImageLayerGzip {
		t.Errorf("it became %s", m.Layers[0].MediaType)
	}
}

// When layers must wait for their manifests: where some may be left out, or a
// filter looks below them.
func TestNeedsManifests(t *testing.T) {
	t.Parallel()
	amd, err := pipeline.ParsePlatform("linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	chosen := pipeline.Platforms{Want: []ocispec.Platform{amd}}
	for _, c := range []struct {
		q    pipeline.Query
		want bool
	}{
		{pipeline.Query{}, false},
		{pipeline.Query{Platforms: pipeline.Platforms{All: true}}, false},
		{pipeline.Query{Platforms: chosen}, true},
		{pipeline.Query{Below: true}, true},
		{pipeline.Query{Capacity: pipeline.Capacity{OneName: true}}, true},
		{pipeline.Query{Capacity: pipeline.Capacity{Platform: &amd}}, true},
		{pipeline.Query{Capacity: pipeline.Capacity{Platform: &amd}, Platforms: pipeline.Platforms{All: true}}, false},
	} {
		if got := c.q.NeedsManifests(); got != c.want {
			t.Errorf("%+v: %v", c.q, got)
		}
	}
}

// asked is a source that remembers how it was asked.
type asked struct {
	*pipelinetest.Source
	q pipeline.Query
}

func (a *asked) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	a.q = q
	return a.Source.Open(ctx, q)
}

func TestSourceIsToldOfAFilterThatLooksBelow(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Layers: [][]byte{pipelinetest.Tar(t, files("a")...)}})
	for filter, want := range map[pipeline.Filter]bool{stamp{}: true, rename{"a", "b"}: false} {
		src := &asked{Source: s.Source(img)}
		run(t, src, pipelinetest.NewSink(), all, filter)
		if src.q.Below != want {
			t.Errorf("%s: Below is %v", filter.Recipe().Key, src.q.Below)
		}
	}
}
