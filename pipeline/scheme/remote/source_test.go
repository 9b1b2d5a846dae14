package remote_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func TestSourceReadsEveryManifestType(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		docker, index bool
	}{"docker": {docker: true}, "oci": {}, "docker-list": {docker: true, index: true}, "oci-index": {index: true}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf()
			img := s.Image(t, pipelinetest.Image{Docker: test.docker, Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "f"})}})
			root := img
			if test.index {
				root = s.Index(t, img, s.Attestation(t, img.Digest))
				if test.docker {
					raw := bytes.Replace(s.Bytes(root.Digest), []byte(ocispec.MediaTypeImageIndex), []byte(pipeline.MediaTypeDockerManifestList), 1)
					root = s.Put(pipeline.MediaTypeDockerManifestList, raw)
				}
			}
			s.tag("1", root)
			far := serve(t, s)
			dst, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1", pipeline.Options{Query: pipeline.Query{Platforms: want(t, "linux/amd64")}})
			if err != nil {
				t.Fatal(err)
			}
			if got := dst.Published; len(got) != 1 || got[0].Desc.Digest != img.Digest {
				t.Errorf("published %v, want the image %s", got, img.Digest)
			}
			if names := dst.Published[0].Names; !slices.Equal(names, []string{far.host() + "/team/app:1"}) {
				t.Errorf("names are %q", names)
			}
		})
	}
}

func want(t testing.TB, platforms ...string) (p pipeline.Platforms) {
	t.Helper()
	for _, s := range platforms {
		one, err := pipeline.ParsePlatform(s)
		if err != nil {
			t.Fatal(err)
		}
		p.Want = append(p.Want, one)
	}
	return p
}

func TestPlatformIsChosen(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		platforms, options, want string
	}{
		"by the query":                 {"linux/arm64", "", "linux/arm64/v8"},
		"arm64 matches v8":             {"linux/arm64", "", "linux/arm64/v8"},
		"by the URI over the query":    {"linux/amd64", "?arch=arm", "linux/arm/v7"},
		"by the alias architecture":    {"linux/amd64", "?architecture=arm64", "linux/arm64/v8"},
		"by os":                        {"linux/amd64", "?os=windows", "windows/amd64"},
		"by variant":                   {"linux/amd64", "?arch=arm&variant=v6", "linux/arm/v6"},
		"attestations are not images":  {"linux/amd64", "", "linux/amd64"},
		"no match says what there is":  {"linux/s390x", "", ""},
		"blank options do not count":   {"linux/arm64", "?arch=&os=", "linux/arm64/v8"},
		"another arch drops a variant": {"linux/arm64/v8", "?arch=amd64", "linux/amd64"},
	}
	s := newShelf()
	digests := map[string]digest.Digest{}
	var all []ocispec.Descriptor
	for _, p := range []string{"linux/amd64", "linux/arm64/v8", "linux/arm/v6", "linux/arm/v7", "windows/amd64"} {
		desc := s.Image(t, pipelinetest.Image{Platform: p, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: p})}, Compression: pipeline.Gzip})
		digests[p] = desc.Digest
		all = append(all, desc)
	}
	none := s.Image(t, pipelinetest.Image{Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "none"})}, Platform: "linux/riscv64"})
	none.Platform = nil
	s.tag("1", s.Index(t, append(all, s.Attestation(t, all[0].Digest), none)...))
	far := serve(t, s)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dst, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1"+test.options, pipeline.Options{Query: pipeline.Query{Platforms: want(t, test.platforms)}})
			if test.want == "" {
				wantError(t, err, "s390x", "linux/amd64")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := dst.Published[0].Desc.Digest; got != digests[test.want] {
				t.Errorf("got %s, want %s of %s", got, digests[test.want], test.want)
			}
		})
	}
}

// answerManifest answers manifest requests for a tag with fixed text.
func answerManifest(contentType, body string, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/1") {
			return false
		}
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		_, _ = w.Write([]byte(body))
		return true
	}
}

func TestManifestTypeIsToldByTheManifest(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	good := string(s.Bytes(s.tags["1"].Digest))
	bare := strings.Replace(good, `"mediaType":"`+ocispec.MediaTypeImageManifest+`",`, "", 1)
	tests := map[string]struct{ contentType, body, want string }{
		"with parameters":         {ocispec.MediaTypeImageManifest + "; charset=utf-8", good, ""},
		"header only":             {ocispec.MediaTypeImageManifest, bare, ""},
		"odd header":              {"application/octet-stream", good, ""},
		"no header":               {"", bare, ""},
		"garbled header":          {"a/b; c=\"", good, ""},
		"a list by header only":   {pipeline.MediaTypeDockerManifestList, bare, ""},
		"schema 1":                {"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"fsLayers":[]}`, "schema 1"},
		"unknown":                 {"application/json", `{"schemaVersion":2}`, "Unknown manifest content type"},
		"unknown by its own word": {ocispec.MediaTypeImageManifest, strings.Replace(good, ocispec.MediaTypeImageManifest, "x/y", 1), `Unknown manifest content type "x/y"`},
		"two things at once":      {ocispec.MediaTypeImageManifest, strings.Replace(bare, "{", `{"manifests":[],`, 1), "at once"},
		"a web page":              {"text/html", "<html>", "not JSON"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.body == good && strings.Contains(bare, "image.manifest") {
				t.Fatal("the bare manifest still has its type")
			}
			far := serve(t, s, answerManifest(test.contentType, test.body))
			_, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1", pipeline.Options{Query: pipeline.Query{Platforms: want(t, "linux/amd64")}})
			switch {
			case test.want != "":
				wantError(t, err, test.want)
			case err != nil:
				t.Error(err)
			}
		})
	}
}

func TestDigestsAreVerified(t *testing.T) {
	t.Parallel()
	other := []byte(`{"schemaVersion":2}`)
	tests := map[string]struct {
		damage    func(*shelf, ocispec.Manifest)
		reference func(*shelf) string
	}{
		"manifest by digest": {
			func(s *shelf, _ ocispec.Manifest) { s.Corrupt(s.tags["1"].Digest, other) },
			func(s *shelf) string { return "@" + s.tags["1"].Digest.String() },
		},
		"manifest by tag": {func(s *shelf, _ ocispec.Manifest) { s.Corrupt(s.tags["1"].Digest, other) }, nil},
		"config":          {func(s *shelf, m ocispec.Manifest) { s.Corrupt(m.Config.Digest, other) }, nil},
		"layer": {func(s *shelf, m ocispec.Manifest) {
			s.Corrupt(m.Layers[0].Digest, bytes.Repeat([]byte{1}, int(m.Layers[0].Size)))
		}, nil},
		"layer too short": {func(s *shelf, m ocispec.Manifest) { s.Corrupt(m.Layers[0].Digest, []byte{1}) }, nil},
		"layer too long": {func(s *shelf, m ocispec.Manifest) {
			s.Corrupt(m.Layers[0].Digest, append(bytes.Clone(s.Bytes(m.Layers[0].Digest)), 0))
		}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, m := sample(t, pipeline.Gzip)
			test.damage(s, m)
			ref := ":1"
			if test.reference != nil {
				ref = test.reference(s)
			}
			far := serve(t, s)
			dst, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app"+ref, pipeline.Options{Query: pipeline.Query{Platforms: want(t, "linux/amd64")}})
			if !errors.Is(err, pipeline.ErrDigest) {
				t.Errorf("error is %v, want ErrDigest", err)
			}
			if len(dst.Published) > 0 {
				t.Error("the image was published")
			}
		})
	}
}

func TestDigestReferenceIsPulledByDigest(t *testing.T) {
	t.Parallel()
	for name, prefix := range map[string]string{"digest": "", "tag and digest": ":other"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := sample(t, pipeline.Gzip)
			d := s.tags["1"].Digest
			far := serve(t, s)
			dst, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app"+prefix+"@"+d.String(), pipeline.Options{Query: pipeline.Query{Platforms: want(t, "linux/amd64")}})
			if err != nil {
				t.Fatal(err)
			}
			if dst.Published[0].Desc.Digest != d || len(far.requests("manifests/other")) > 0 {
				t.Errorf("got %s, want %s, and no request for the tag", dst.Published[0].Desc.Digest, d)
			}
		})
	}
}

func TestSHA512IsVerifiedWithSHA512(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	raw := s.Bytes(s.tags["1"].Digest)
	d := digest.SHA512.FromBytes(raw)
	for name, body := range map[string][]byte{"right": raw, "wrong": append(bytes.Clone(raw), ' ')} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			far := serve(t, s, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, d.String()) {
					return false
				}
				_, _ = w.Write(body)
				return true
			})
			g, err := source(t, quick(), "registry://"+far.host()+"/team/app@"+d.String()).Open(t.Context(), pipeline.Query{Platforms: want(t, "linux/amd64")})
			if err == nil {
				defer g.Close()
			}
			if right := name == "right"; right != (err == nil) || !right && !errors.Is(err, pipeline.ErrDigest) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestLayersComeInEveryCompression(t *testing.T) {
	t.Parallel()
	plain := pipelinetest.Tar(t, pipelinetest.File{Name: "f", Body: noise(1 << 20)})
	half := len(plain) / 2
	members := func(c pipeline.Compression) []byte {
		return append(pipelinetest.Compress(t, c, plain[:half]), pipelinetest.Compress(t, c, plain[half:])...)
	}
	tests := map[string]struct {
		mediaType string
		blob      []byte
	}{
		"gzip":              {ocispec.MediaTypeImageLayerGzip, pipelinetest.Compress(t, pipeline.Gzip, plain)},
		"zstd":              {ocispec.MediaTypeImageLayerZstd, pipelinetest.Compress(t, pipeline.Zstd, plain)},
		"plain":             {ocispec.MediaTypeImageLayer, plain},
		"unknown type":      {"application/x-layer", pipelinetest.Compress(t, pipeline.Gzip, plain)},
		"gzip in members":   {ocispec.MediaTypeImageLayerGzip, members(pipeline.Gzip)},
		"zstd in frames":    {ocispec.MediaTypeImageLayerZstd, members(pipeline.Zstd)},
		"gzip called plain": {ocispec.MediaTypeImageLayer, pipelinetest.Compress(t, pipeline.Gzip, plain)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf()
			tagLayer(t, s, s.Put(test.mediaType, test.blob), digest.FromBytes(plain))
			far := serve(t, s)
			uri := "registry://" + far.host() + "/team/app:1"
			o := pipeline.Options{Query: pipeline.Query{Platforms: want(t, "linux/amd64")}}
			dst, report, err := pull(t, quick(), uri, o)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dst.Store.Bytes(digest.FromBytes(test.blob)), test.blob) {
				t.Error("the stored bytes did not arrive as they are")
			}
			// Verify decodes each layer and compares it with its diff ID.
			if err := pipeline.Verify(t.Context(), source(t, quick(), uri), report, o); err != nil {
				t.Error(err)
			}
		})
	}
}

// tagLayer makes an image of one layer and tags it 1.
func tagLayer(t testing.TB, s *shelf, layer ocispec.Descriptor, diffID digest.Digest) {
	t.Helper()
	config := s.PutJSON(t, ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}},
	})
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}}
	m.SchemaVersion = 2
	s.tag("1", s.PutJSON(t, m.MediaType, m))
}

func TestHeldLayersAreNotDownloaded(t *testing.T) {
	t.Parallel()
	s, m := sample(t, pipeline.Gzip)
	far := serve(t, s)
	dst := pipelinetest.NewSink()
	dst.Store.Put("", s.Bytes(m.Layers[1].Digest))
	_, err := pipeline.Run(t.Context(), source(t, quick(), "registry://"+far.host()+"/team/app:1"), nil, dst, pipeline.Options{Query: pipeline.Query{Platforms: want(t, "linux/amd64")}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(far.requests(m.Layers[1].Digest.String())); n != 0 {
		t.Errorf("the held layer was asked for %d times", n)
	}
	if n := len(far.requests(m.Layers[0].Digest.String())); n != 1 {
		t.Errorf("the other layer was asked for %d times, not once", n)
	}
}

func TestForeignLayersFollowThePolicy(t *testing.T) {
	t.Parallel()
	plain := pipelinetest.Tar(t, pipelinetest.File{Name: "windows"})
	blob := pipelinetest.Compress(t, pipeline.Gzip, plain)
	for policy, asked := range map[pipeline.Foreign]int{pipeline.ForeignKeep: 0, pipeline.ForeignSkip: 0, pipeline.ForeignFetch: 1} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			s := newShelf()
			elsewhere := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(blob) }))
			layer := ocispec.Descriptor{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: digest.FromBytes(blob), Size: int64(len(blob)), URLs: []string{elsewhere.URL + "/layer"}}
			tagLayer(t, s, layer, digest.FromBytes(plain))
			far := serve(t, s)
			o := pipeline.Options{Query: pipeline.Query{Platforms: want(t, "linux/amd64"), Foreign: policy, OpenURL: openURL(t)}}
			src := source(t, quick(), "registry://"+far.host()+"/team/app:1")
			g, err := src.Open(t.Context(), o.Query)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			for l, err := range g.Layers(t.Context()) {
				if err != nil || l.Foreign != policy {
					t.Fatalf("layer is %q: %v", l.Foreign, err)
				}
				if policy == pipeline.ForeignFetch {
					readAll(t, l, blob)
				}
			}
			if n := len(elsewhere.requests("GET /layer")); n != asked {
				t.Errorf("the URL was asked for %d times, want %d", n, asked)
			}
		})
	}
}

func TestNestedIndexIsFollowed(t *testing.T) {
	t.Parallel()
	s := newShelf()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "f"})}})
	s.tag("1", s.Index(t, s.Index(t, img)))
	far := serve(t, s)
	dst, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1", pipeline.Options{Query: pipeline.Query{Platforms: want(t, "linux/amd64")}})
	if err != nil {
		t.Fatal(err)
	}
	if got := dst.Published[0].Desc.Digest; got != img.Digest {
		t.Errorf("got %s, want %s", got, img.Digest)
	}
}

func TestIndexIsCarriedWhole(t *testing.T) {
	t.Parallel()
	s := newShelf()
	amd := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "amd"})}})
	arm := s.Image(t, pipelinetest.Image{Platform: "linux/arm64", Compression: pipeline.Zstd, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "arm"})}})
	root := s.Index(t, amd, arm, s.Attestation(t, amd.Digest))
	s.tag("1", root)
	far := serve(t, s)
	dst, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1", pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}})
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(dst.Published[0].Raw, &index); err != nil || dst.Published[0].Desc.Digest != root.Digest || len(index.Manifests) != 3 {
		t.Errorf("published %s with %d manifests: %v", dst.Published[0].Desc.Digest, len(index.Manifests), err)
	}
}
