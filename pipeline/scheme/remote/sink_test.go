package remote_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ggcr "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func TestEnds(t *testing.T) {
	t.Parallel()
	pipelinetest.TestEnd(t, pipelinetest.End{Sink: func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
		far := serve(t, emptyRegistry())
		uri := "registry://" + far.host() + "/team/app:1"
		return sink(t, quick(), uri), func() (pipeline.Source, error) { return source(t, quick(), uri), nil }
	}})
}

// manifest is what others see of an image.
func manifest(t *testing.T, host, repository string) *v1.Manifest {
	t.Helper()
	ref, err := name.ParseReference(host+"/"+repository, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := ggcr.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// validated pulls with go-containerregistry, which checks all digests.
func validated(t *testing.T, host, repository string) v1.Image {
	t.Helper()
	ref, err := name.ParseReference(host+"/"+repository, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := ggcr.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	return img
}

func TestPushedImageIsValidToOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []pipeline.Compression{pipeline.Gzip, pipeline.Plain} {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			far := serve(t, emptyRegistry())
			src := image(t, c)
			if _, err := push(t, quick(), src, "registry://"+far.host()+"/team/deep/app", pipeline.Options{}); err != nil {
				t.Fatal(err)
			}
			img := validated(t, far.host(), "team/deep/app:latest")
			d, err := img.Digest()
			if same := d.String() == src.Roots[0].Desc.Digest.String(); err != nil || same != (c == pipeline.Gzip) {
				t.Errorf("manifest is %s, was %s: %v", d, src.Roots[0].Desc.Digest, err)
			}
			layers, err := img.Layers()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range layers {
				if mt, err := l.MediaType(); err != nil || !strings.HasSuffix(string(mt), "gzip") {
					t.Errorf("layer has type %s: %v", mt, err)
				}
			}
		})
	}
}

func TestSecondPushSendsNothingAndHasTheSameDigest(t *testing.T) {
	t.Parallel()
	far := serve(t, emptyRegistry())
	uri := "registry://" + far.host() + "/team/app:1"
	src := image(t, pipeline.Gzip)
	first, err := push(t, quick(), src, uri, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := len(far.requests("POST")) + len(far.requests("PATCH"))
	second, err := push(t, quick(), src, uri, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if after := len(far.requests("POST")) + len(far.requests("PATCH")); after != before {
		t.Errorf("%d uploads at the second push", after-before)
	}
	if first.Roots[0].Manifest.Digest != second.Roots[0].Manifest.Digest {
		t.Error("the second push has another digest")
	}
}

func TestCompressionOptionRecodes(t *testing.T) {
	t.Parallel()
	for option, suffix := range map[string]string{"zstd": "+zstd", "gzip": "+gzip", "ZSTD": "+zstd"} {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			far := serve(t, emptyRegistry())
			uri := "registry://" + far.host() + "/team/app:1"
			src := image(t, pipeline.Gzip)
			report, err := push(t, quick(), src, uri+"?compression="+option, pipeline.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range report.Layers {
				if asItCame := l.Result.Digest == l.Source.Digest; asItCame != (suffix == "+gzip") {
					t.Errorf("a gzip layer came as it was: %v", asItCame)
				}
			}
			for _, l := range manifest(t, far.host(), "team/app:1").Layers {
				if !strings.HasSuffix(string(l.MediaType), suffix) {
					t.Errorf("layer has type %s", l.MediaType)
				}
			}
			if err := pipeline.Verify(t.Context(), source(t, quick(), uri), report, onAMD64()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLocationVariants(t *testing.T) {
	t.Parallel()
	tests := map[string]func(host string, location *url.URL) string{
		"absolute": func(host string, u *url.URL) string { return "http://" + host + u.Path },
		"relative": func(_ string, u *url.URL) string { return u.Path },
		"state":    func(_ string, u *url.URL) string { return u.Path + "?_state=a%2Fb%3D%3D&x=1" },
		"bare":     func(_ string, u *url.URL) string { return u.Path[strings.LastIndexByte(u.Path, '/')+1:] },
	}
	for name, rewrite := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := emptyRegistry()
			lostState := atomic.Int32{}
			far := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if name == "state" && r.Method != http.MethodPost && strings.Contains(r.URL.Path, "/uploads/") && !strings.HasPrefix(r.URL.RawQuery, "_state=a%2Fb%3D%3D&x=1") {
					lostState.Add(1)
				}
				h.ServeHTTP(&relocated{w, func(u *url.URL) string {
					if name == "bare" && r.Method != http.MethodPost {
						return u.Path
					}
					return rewrite(r.Host, u)
				}}, r)
			}))
			if _, err := push(t, quick(), image(t, pipeline.Gzip), "registry://"+far.host()+"/team/app:1", pipeline.Options{}); err != nil {
				t.Fatal(err)
			}
			if n := lostState.Load(); n > 0 {
				t.Errorf("%d requests lost the upload's state", n)
			}
			validated(t, far.host(), "team/app:1")
		})
	}
}

// relocated rewrites the Location of uploads.
type relocated struct {
	http.ResponseWriter
	rewrite func(*url.URL) string
}

func (r *relocated) WriteHeader(status int) {
	if u, err := url.Parse(r.Header().Get("Location")); err == nil && strings.Contains(u.Path, "/uploads/") {
		r.Header().Set("Location", r.rewrite(u))
	}
	r.ResponseWriter.WriteHeader(status)
}

func TestUploadElsewhereGetsNoLogin(t *testing.T) {
	t.Parallel()
	h := emptyRegistry()
	storage := serve(t, h, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		return false
	})
	far := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&relocated{w, func(u *url.URL) string { return storage.URL + u.Path }}, r)
	}), func(w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	cfg := quick()
	cfg.Sink = credential.Static("bob", "s3cret")
	if _, err := push(t, cfg, image(t, pipeline.Gzip), "registry://"+far.host()+"/team/app:1", pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	if len(storage.requests("PATCH")) == 0 {
		t.Error("nothing was uploaded there")
	}
}

func TestPushAsksForPushScope(t *testing.T) {
	t.Parallel()
	d := newDoor(t, emptyRegistry(), &door{user: "bob:s3cret"})
	cfg := quick()
	cfg.Sink = credential.Static("bob", "s3cret")
	if _, err := push(t, cfg, image(t, pipeline.Gzip), d.uri(), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := d.requests[0].URL.Query().Get("scope"); got != "repository:team/app:pull,push" {
		t.Errorf("scope is %q", got)
	}
}

func TestTokenExpiryDuringPushIsRenewed(t *testing.T) {
	t.Parallel()
	d := newDoor(t, emptyRegistry(), &door{uses: 2})
	o := pipeline.Options{Parallel: 1, Retries: 5}
	if _, err := push(t, quick(), image(t, pipeline.Gzip), d.uri(), o); err != nil {
		t.Fatal(err)
	}
	if d.issued < 3 {
		t.Errorf("only %d tokens were issued; nothing expired", d.issued)
	}
}

func TestManifestRefusalSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	far := serve(t, emptyRegistry(), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown","detail":{"Digest":"sha256:abc\u001b[31m"}}]}`)
		return true
	})
	_, err := push(t, quick(), image(t, pipeline.Gzip), "registry://"+far.host()+"/team/app:1", pipeline.Options{})
	wantError(t, err, "lacks a blob", "sha256:abc")
	if strings.ContainsRune(err.Error(), '\x1b') {
		t.Error("the registry's text reaches the terminal as it is")
	}
}

func TestDestinationByDigestMustMatch(t *testing.T) {
	t.Parallel()
	src := image(t, pipeline.Gzip)
	far := serve(t, emptyRegistry())
	if _, err := push(t, quick(), src, "registry://"+far.host()+"/team/app@"+src.Roots[0].Desc.Digest.String(), pipeline.Options{}); err != nil {
		t.Errorf("the right digest: %v", err)
	}
	_, err := push(t, quick(), src, "registry://"+far.host()+"/team/app@"+digest.FromString("x").String(), pipeline.Options{})
	var usage *pipeline.UsageError
	if !errors.As(err, &usage) {
		t.Errorf("another digest: %v, want a usage error", err)
	}
}

func TestLayersAreMountedFromANeighbour(t *testing.T) {
	t.Parallel()
	s, m := sample(t, pipeline.Gzip)
	tests := map[string]struct {
		answer  int
		uploads int
	}{"taken": {http.StatusCreated, 0}, "refused": {http.StatusAccepted, 1}, "failed": {http.StatusForbidden, 1}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := emptyRegistry()
			mounted := atomic.Int32{}
			far := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch q := r.URL.Query(); {
				case strings.HasPrefix(r.URL.Path, "/v2/team/app/") && r.Method == http.MethodGet:
					s.ServeHTTP(w, r)
				case q.Get("mount") == "" || test.answer == http.StatusAccepted:
					h.ServeHTTP(w, r)
				case q.Get("from") == "team/app" && test.answer == http.StatusCreated:
					mounted.Add(1)
					raw := s.Bytes(digest.Digest(q.Get("mount")))
					put, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "/v2/other/app/blobs/uploads/?digest="+q.Get("mount"), bytes.NewReader(raw))
					if err != nil {
						t.Error(err)
					}
					h.ServeHTTP(w, put)
				default:
					w.WriteHeader(test.answer)
				}
			}))
			dst := sink(t, quick(), "registry://"+far.host()+"/other/app:1")
			if _, err := pipeline.Run(t.Context(), source(t, quick(), "registry://"+far.host()+"/team/app:1"), nil, dst, onAMD64()); err != nil {
				t.Fatal(err)
			}
			if n := len(far.requests("PATCH")); n != test.uploads {
				t.Errorf("%d layers were streamed, want %d", n, test.uploads)
			}
			if posts := len(far.requests("POST")); test.answer == http.StatusAccepted && posts != len(m.Layers)+1 {
				t.Errorf("%d uploads were opened; a refused mount should be gone on with", posts)
			}
			validated(t, far.host(), "other/app:1")
		})
	}
}

func TestPlanAsksForWhatWillArrive(t *testing.T) {
	t.Parallel()
	layer := func(mediaType string, role pipeline.Role) pipeline.Layer {
		return pipeline.Layer{Role: role, Blob: ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(mediaType), Size: 1}}
	}
	tests := map[string]struct {
		option string
		layer  pipeline.Layer
		want   pipeline.Plan
		heads  int
	}{
		"gzip stays":            {"", layer(ocispec.MediaTypeImageLayerGzip, 0), pipeline.Plan{IfPlain: pipeline.Gzip}, 1},
		"zstd stays":            {"", layer(ocispec.MediaTypeImageLayerZstd, 0), pipeline.Plan{IfPlain: pipeline.Gzip}, 1},
		"plain becomes gzip":    {"", layer(ocispec.MediaTypeImageLayer, 0), pipeline.Plan{IfPlain: pipeline.Gzip}, 0},
		"gzip becomes zstd":     {"?compression=zstd", layer(ocispec.MediaTypeImageLayerGzip, 0), pipeline.Plan{Encoding: pipeline.Encoding{Compression: pipeline.Zstd}}, 0},
		"opaque is left alone":  {"?compression=zstd", layer("application/vnd.in-toto+json", pipeline.Opaque), pipeline.Plan{}, 1},
		"foreign never arrives": {"", pipeline.Layer{Blob: ocispec.Descriptor{URLs: []string{"https://x"}}}, pipeline.Plan{Held: true}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			far := serve(t, emptyRegistry())
			dst := sink(t, quick(), "registry://"+far.host()+"/team/app:1"+test.option)
			defer dst.Close()
			got, err := dst.Plan(t.Context(), test.layer)
			if err != nil || got != test.want {
				t.Errorf("plan is %+v, want %+v: %v", got, test.want, err)
			}
			if n := len(far.requests("HEAD")); n != test.heads {
				t.Errorf("the registry was asked %d times, want %d", n, test.heads)
			}
		})
	}
}
