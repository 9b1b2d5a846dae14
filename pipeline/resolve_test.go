package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// multi is a store with an index of the given platforms, attestations included.
func multi(t testing.TB, platforms ...string) (s *pipelinetest.Store, idx ocispec.Descriptor, images []ocispec.Descriptor) {
	t.Helper()
	s = pipelinetest.NewStore()
	var entries []ocispec.Descriptor
	for _, p := range platforms {
		img := s.Image(t, pipelinetest.Image{Platform: p, Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, files(p)...)}})
		images = append(images, img)
		entries = append(entries, img, s.Attestation(t, img.Digest))
	}
	return s, s.Index(t, entries...), images
}

func query(t testing.TB, all bool, want ...string) pipeline.Query {
	t.Helper()
	q := pipeline.Query{Platforms: pipeline.Platforms{All: all}}
	for _, w := range want {
		p, err := pipeline.ParsePlatform(w)
		if err != nil {
			t.Fatal(err)
		}
		q.Platforms.Want = append(q.Platforms.Want, p)
	}
	return q
}

// roots resolves and returns the roots and the number of manifests.
func roots(t testing.TB, src *pipelinetest.Source, q pipeline.Query) (out []pipeline.Manifest, manifests int, err error) {
	t.Helper()
	g, err := src.Open(t.Context(), q)
	if err != nil {
		return nil, 0, err
	}
	defer g.Close()
	for m, err := range g.Manifests(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if manifests++; m.Root {
			out = append(out, m)
		}
	}
	return out, manifests, nil
}

func TestPlatformChoice(t *testing.T) {
	t.Parallel()
	here := pipeline.DefaultPlatform().Architecture
	cases := map[string]struct {
		has       []string
		one, all  bool
		want      []string
		image     int // the image that is chosen; -1 the index, -2 an error
		manifests int
	}{
		"registry, no flag":            {[]string{"linux/s390x", "linux/" + here}, true, false, nil, 1, 1},
		"registry, the only one":       {[]string{"linux/s390x"}, true, false, nil, 0, 1},
		"registry, none fits":          {[]string{"linux/s390x", "linux/ppc64le"}, true, false, nil, -2, 0},
		"registry, all":                {[]string{"linux/amd64", "linux/arm64"}, true, true, nil, -1, 5},
		"archive, no flag":             {[]string{"linux/amd64", "linux/arm64"}, false, false, nil, -1, 5},
		"one named":                    {[]string{"linux/amd64", "linux/arm64"}, false, false, []string{"linux/arm64"}, 1, 1},
		"arm64 means v8":               {[]string{"linux/amd64", "linux/arm64/v8"}, true, false, []string{"linux/arm64"}, 1, 1},
		"v8 means arm64":               {[]string{"linux/amd64", "linux/arm64"}, true, false, []string{"linux/arm64/v8"}, 1, 1},
		"arm/v7 takes v6":              {[]string{"linux/arm/v5", "linux/arm/v6"}, true, false, []string{"linux/arm/v7"}, 1, 1},
		"arm/v7 prefers v7":            {[]string{"linux/arm/v6", "linux/arm/v7"}, true, false, []string{"linux/arm/v7"}, 1, 1},
		"named one is not there":       {[]string{"linux/amd64"}, true, false, []string{"linux/s390x"}, -2, 0},
		"two of three":                 {[]string{"linux/amd64", "linux/arm64", "linux/s390x"}, true, false, []string{"linux/amd64", "linux/s390x"}, -1, 5},
		"two, of which one is missing": {[]string{"linux/amd64", "linux/arm64"}, true, false, []string{"linux/amd64", "linux/s390x"}, -2, 0},
		"another system":               {[]string{"windows/amd64", "linux/amd64"}, true, false, []string{"windows/amd64"}, 0, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, idx, images := multi(t, c.has...)
			src := s.Source(idx, "docker.io/library/a:1")
			src.Options.OneImage = c.one
			got, manifests, err := roots(t, src, query(t, c.all, c.want...))
			switch {
			case c.image == -2:
				if !errors.Is(err, pipeline.ErrNotFound) || !strings.Contains(err.Error(), c.has[0]) {
					t.Errorf("got %v; it must name what there is", err)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			want := idx
			if c.image >= 0 {
				want = images[c.image]
			}
			if len(got) != 1 || got[0].Desc.Digest != want.Digest || manifests != c.manifests {
				t.Errorf("got %d roots, %s of %d manifests; want %s of %d", len(got), got[0].Desc.Digest, manifests, want.Digest, c.manifests)
			}
		})
	}
}

func TestEntryWithoutPlatformIsAskedForItsConfig(t *testing.T) {
	t.Parallel()
	s, _, images := multi(t, "linux/s390x", "linux/arm64")
	for i := range images {
		images[i].Platform = nil
	}
	got, _, err := roots(t, s.Source(s.Index(t, images...)), query(t, false, "linux/arm64"))
	if err != nil || got[0].Desc.Digest != images[1].Digest {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestSinkOfOneImageGetsItsPlatform(t *testing.T) {
	t.Parallel()
	s, idx, images := multi(t, "linux/amd64", "linux/arm64")
	arm, err := pipeline.ParsePlatform("linux/arm64")
	if err != nil {
		t.Fatal(err)
	}
	dst := pipelinetest.NewSink()
	dst.Holds.Platform = &arm
	var warned []string
	o := pipeline.Options{}
	o.Events = func(e pipeline.Event) {
		if e.Kind == pipeline.EventWarning {
			warned = append(warned, e.Message)
		}
	}
	report := run(t, s.Source(idx, "r/a:1"), dst, o)
	if got := published(t, dst); got.Desc.Digest != images[1].Digest || len(report.Layers) != 1 {
		t.Errorf("got %s with %d layers", got.Desc.Digest, len(report.Layers))
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "linux/arm64") {
		t.Errorf("warned %q", warned)
	}
	dst.Published, dst.Committed = nil, nil
	o.Platforms.All = true
	run(t, s.Source(idx, "r/a:1"), dst, o)
	if got := published(t, dst); got.Desc.Digest != idx.Digest {
		t.Error("--all-platforms must win; what the sink says of it is the sink's business")
	}
}

func TestNestedIndexIsFollowed(t *testing.T) {
	t.Parallel()
	s, inner, images := multi(t, "linux/amd64", "linux/arm64")
	outer := s.Index(t, inner)
	got, _, err := roots(t, s.Source(outer), query(t, false, "linux/arm64"))
	if err != nil || got[0].Desc.Digest != images[1].Digest {
		t.Errorf("one image: got %v, %v", got, err)
	}
	got, n, err := roots(t, s.Source(outer), query(t, true))
	if err != nil || got[0].Desc.Digest != outer.Digest || n != 6 {
		t.Errorf("all: got %d manifests, %v", n, err)
	}
	for range 12 {
		outer = s.Index(t, outer)
	}
	if _, _, err = roots(t, s.Source(outer), query(t, true)); !errors.Is(err, pipeline.ErrLimit) {
		t.Errorf("deep nesting: %v", err)
	}
}

func TestSingleImageOfAnotherPlatform(t *testing.T) {
	t.Parallel()
	s, _, images := multi(t, "linux/s390x")
	if _, _, err := roots(t, s.Source(images[0]), query(t, false, "linux/amd64")); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("named platform: %v", err)
	}
	var warned []string
	q := query(t, false)
	q.Events = func(e pipeline.Event) { warned = append(warned, e.Message) }
	src := s.Source(images[0], "r/a:1")
	src.Options.OneImage = true
	if _, _, err := roots(t, src, q); err != nil || len(warned) != 1 || !strings.Contains(warned[0], "linux/s390x") {
		t.Errorf("default platform: %v, warned %q", err, warned)
	}
}

func TestMissingImages(t *testing.T) {
	t.Parallel()
	elsewhere, _, _ := multi(t, "linux/amd64", "linux/arm64")
	cases := map[string]struct {
		missing pipeline.Missing
		has     []string
		want    string // "index", "pruned", "image" or ""
		warns   int
	}{
		"prune":                    {pipeline.MissingPrune, []string{"linux/amd64", "linux/s390x"}, "pruned", 1},
		"fetch":                    {pipeline.MissingFetch, []string{"linux/amd64", "linux/s390x"}, "index", 0},
		"fail":                     {pipeline.MissingFail, []string{"linux/amd64", "linux/s390x"}, "", 0},
		"prune to one, no witness": {pipeline.MissingPrune, nil, "image", 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, idx, images := multi(t, "linux/amd64", "linux/arm64", "linux/s390x")
			if c.has == nil {
				s, _, images = multi(t, "linux/amd64", "linux/arm64")
				idx = s.Index(t, images...)
			}
			m, _ := manifestOf(t, pipeline.Manifest{Raw: s.Bytes(images[1].Digest), Config: []byte("{}")})
			s.Delete(m.Layers[0].Digest) // of arm64
			var warned []string
			o := pipeline.Options{Query: pipeline.Query{Missing: c.missing}}
			o.Events = func(e pipeline.Event) {
				if e.Kind == pipeline.EventWarning {
					warned = append(warned, e.Message)
				}
			}
			o.Elsewhere = func(_ context.Context, name string) (pipeline.Content, error) {
				if name != "docker.io/library/a:1" {
					return nil, fmt.Errorf("asked for %s", name)
				}
				return elsewhere, nil
			}
			dst := pipelinetest.NewSink()
			_, err := pipeline.Run(t.Context(), s.Source(idx, "docker.io/library/a:1"), nil, dst, o)
			if c.want == "" {
				if !errors.Is(err, pipeline.ErrNotFound) || !strings.Contains(err.Error(), "linux/arm64") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := published(t, dst)
			kind := map[bool]string{true: "index", false: "pruned"}[got.Desc.Digest == idx.Digest]
			if got.Desc.Digest == images[0].Digest {
				kind = "image"
			}
			if kind != c.want || len(warned) != c.warns {
				t.Errorf("got the %s, want the %s; warned %q", kind, c.want, warned)
			}
			if c.warns > 0 && !strings.Contains(warned[0], "linux/arm64") {
				t.Errorf("the warning %q does not name the platform", warned[0])
			}
		})
	}
}

// foreignImage is an image whose first layer has a URL and is not in the store.
func foreignImage(t testing.TB) (*pipelinetest.Store, ocispec.Descriptor, []byte) {
	t.Helper()
	s := pipelinetest.NewStore()
	base, top := pipelinetest.Tar(t, files("base")...), pipelinetest.Tar(t, files("top")...)
	blob := pipelinetest.Compress(t, pipeline.Gzip, base)
	foreign := ocispec.Descriptor{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: digest.FromBytes(blob), Size: int64(len(blob)), URLs: []string{"https://mcr.example/base"}}
	config := s.PutJSON(t, pipeline.MediaTypeDockerConfig, ocispec.Image{
		Platform: ocispec.Platform{OS: "windows", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(base), digest.FromBytes(top)}}, History: []ocispec.History{{Comment: "base"}, {EmptyLayer: true}, {Comment: "top"}},
	})
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: pipeline.MediaTypeDockerManifest, Config: config,
		Layers: []ocispec.Descriptor{foreign, s.Put("application/vnd.docker.image.rootfs.diff.tar.gzip", pipelinetest.Compress(t, pipeline.Gzip, top))},
	}
	return s, s.PutJSON(t, m.MediaType, m), blob
}

func TestForeignLayers(t *testing.T) {
	t.Parallel()
	for _, policy := range []pipeline.Foreign{pipeline.ForeignKeep, pipeline.ForeignFetch, pipeline.ForeignSkip} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			s, img, blob := foreignImage(t)
			o := pipeline.Options{Query: pipeline.Query{Foreign: policy}}
			o.OpenURL = func(_ context.Context, url string) (io.ReadCloser, error) {
				if url != "https://mcr.example/base" {
					return nil, fmt.Errorf("asked for %s", url)
				}
				return io.NopCloser(bytes.NewReader(blob)), nil
			}
			dst := pipelinetest.NewSink()
			run(t, s.Source(img), dst, o, rename{"top/file", "top/x"})
			m, config := manifestOf(t, published(t, dst))
			switch policy {
			case pipeline.ForeignKeep:
				if len(m.Layers) != 2 || len(m.Layers[0].URLs) != 1 || dst.Store.Bytes(digest.FromBytes(blob)) != nil {
					t.Errorf("layers are %+v", m.Layers)
				}
			case pipeline.ForeignFetch:
				if len(m.Layers) != 2 || len(m.Layers[0].URLs) != 0 || strings.Contains(m.Layers[0].MediaType, "foreign") || dst.Store.Bytes(digest.FromBytes(blob)) == nil {
					t.Errorf("layers are %+v", m.Layers)
				}
			case pipeline.ForeignSkip:
				comments := []string{}
				for _, h := range config.History {
					comments = append(comments, h.Comment)
				}
				if len(m.Layers) != 1 || len(config.RootFS.DiffIDs) != 1 {
					t.Errorf("layers are %+v", m.Layers)
				}
				if d := cmp.Diff([]string{"", "top"}, comments); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestAmbiguousManifestsAreRefused(t *testing.T) {
	t.Parallel()
	d := digest.FromString("x")
	cases := map[string]struct{ mediaType, raw string }{
		"image that is an index too": {ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}`},
		"index that is an image too": {ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"layers":[]}`},
		"key twice":                  {ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"Manifests":[]}`},
		"another media type within":  {ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{"mediaType":"x","digest":"` + d.String() + `"},"layers":[]}`},
		"schema 1":                   {"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"fsLayers":[]}`},
		"not JSON":                   {ocispec.MediaTypeImageManifest, `<html>`},
		"text after it":              {ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[]} {}`},
		"digest that is none":        {ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":{"mediaType":"x","digest":"../../etc/passwd"},"layers":[]}`},
		"more diff IDs than layers":  {ocispec.MediaTypeImageManifest, ``},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.NewStore()
			raw := c.raw
			if raw == "" {
				config := s.Put(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["`+d.String()+`"]}}`))
				raw = fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`, config.MediaType, config.Digest, config.Size)
			}
			_, err := pipeline.Run(t.Context(), s.Source(s.Put(c.mediaType, []byte(raw))), nil, pipelinetest.NewSink(), all)
			if err == nil {
				t.Error("it was accepted")
			}
		})
	}
}

func TestManifestSizeIsLimited(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	big := s.Put(ocispec.MediaTypeImageIndex, fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[],"x":%q}`, strings.Repeat("x", 9<<20)))
	_, _, err := roots(t, s.Source(big), query(t, true))
	if !errors.Is(err, pipeline.ErrLimit) || !strings.Contains(err.Error(), "--max-manifest-size") {
		t.Errorf("got %v", err)
	}
}

// FuzzManifest: no manifest or config panics, whatever it says.
func FuzzManifest(f *testing.F) {
	s, idx, images := multi(f, "linux/amd64", "linux/arm64")
	f.Add(s.Bytes(idx.Digest), []byte("{}"), true)
	m, _ := manifestOf(f, pipeline.Manifest{Raw: s.Bytes(images[0].Digest), Config: []byte("{}")})
	f.Add(s.Bytes(images[0].Digest), s.Bytes(m.Config.Digest), false)
	f.Fuzz(func(t *testing.T, raw, config []byte, index bool) {
		store := pipelinetest.NewStore()
		mediaType := ocispec.MediaTypeImageManifest
		if index {
			mediaType = ocispec.MediaTypeImageIndex
		}
		c := store.Put(ocispec.MediaTypeImageConfig, config)
		raw = bytes.ReplaceAll(raw, []byte(m.Config.Digest), []byte(c.Digest))
		raw = bytes.ReplaceAll(raw, fmt.Appendf(nil, `"size":%d`, m.Config.Size), fmt.Appendf(nil, `"size":%d`, c.Size))
		for _, l := range m.Layers {
			store.Put(l.MediaType, s.Bytes(l.Digest))
		}
		dst := pipelinetest.NewSink()
		_, _ = pipeline.Run(t.Context(), store.Source(store.Put(mediaType, raw)), []pipeline.Filter{rename{"linux/amd64/file", "x"}}, dst, all)
	})
}
