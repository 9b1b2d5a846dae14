package remote_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	ggcr "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

type hook = func(http.ResponseWriter, *http.Request) bool

// newer serves a registry with the referrers API, which also says so of what is
// pushed.
func newer(t *testing.T, hooks ...hook) *far {
	t.Helper()
	says := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		if subject, err := pipeline.SubjectOf(raw); err == nil && subject != "" {
			w.Header().Set("OCI-Subject", subject.String())
		}
		return false
	}
	return serve(t, registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))), append(hooks, says)...)
}

// A signed is an index of one image with all kinds of referrers.
type signed struct {
	*pipelinetest.Source
	index, image    ocispec.Descriptor
	sbom, ofSBOM    ocispec.Descriptor
	signature, text ocispec.Descriptor
}

func newSigned(t *testing.T) signed {
	t.Helper()
	s := pipelinetest.NewStore()
	out := signed{image: s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "a"})}})}
	out.index = s.Index(t, out.image)
	out.sbom = s.Referrer(t, out.image, "sbom")
	out.ofSBOM = s.Referrer(t, out.sbom, "signature of the SBOM")
	out.signature, out.text = s.Signature(t, out.index.Digest), s.CosignSBOM(t)
	s.Tag(out.signature, out.index.Digest, ".sig")
	s.Tag(out.text, out.image.Digest, ".sbom")
	out.Source = s.Source(out.index, "registry.example/team/app:1")
	return out
}

func withReferrers() pipeline.Options {
	return pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}, Referrers: true}}
}

// copyTo runs a source into team/app:1 of a registry.
func copyTo(t *testing.T, src pipeline.Source, to *far) error {
	t.Helper()
	_, err := pipeline.Run(t.Context(), src, nil, sink(t, quick(), "registry://"+to.host()+"/team/app:1"), withReferrers())
	return err
}

// referrersOf asks go-containerregistry, which falls back to the tag itself.
func referrersOf(t *testing.T, host string, d digest.Digest) (out []string) {
	t.Helper()
	ref, err := name.NewDigest(host+"/team/app@"+d.String(), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	idx, err := ggcr.Referrers(ref)
	if err != nil {
		t.Fatal(err)
	}
	m, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range m.Manifests {
		out = append(out, e.Digest.String()+" "+e.Annotations["org.example.kind"])
	}
	return out
}

// head is the digest under a tag; "" for none.
func head(t *testing.T, host, tag string) string {
	t.Helper()
	ref, err := name.ParseReference(host+"/team/app:"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ggcr.Head(ref)
	if err != nil {
		return ""
	}
	return d.Digest.String()
}

// Between registries with the API and without, signatures and SBOMs arrive where
// other programs look for them; the tag that stands for the API is only there
// where it is needed.
func TestReferrersGoFromRegistryToRegistry(t *testing.T) {
	t.Parallel()
	older := func(t *testing.T, hooks ...hook) *far { return serve(t, emptyRegistry(), hooks...) }
	for what, make := range map[string][2]func(*testing.T, ...hook) *far{
		"newer to newer": {newer, newer}, "newer to older": {newer, older}, "older to newer": {older, newer}, "older to older": {older, older},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newSigned(t)
			from, to := make[0](t), make[1](t)
			if err := copyTo(t, s, from); err != nil {
				t.Fatal(err)
			}
			if err := copyTo(t, source(t, quick(), "registry://"+from.host()+"/team/app:1"), to); err != nil {
				t.Fatal(err)
			}
			for _, at := range []string{from.host(), to.host()} {
				if got := referrersOf(t, at, s.image.Digest); !slices.Equal(got, []string{s.sbom.Digest.String() + " sbom"}) {
					t.Errorf("the image has the referrers %v", got)
				}
				if got := referrersOf(t, at, s.sbom.Digest); len(got) != 1 {
					t.Errorf("the SBOM has the referrers %v", got)
				}
				if got := head(t, at, pipeline.CosignTags(s.index.Digest)[0]); got != s.signature.Digest.String() {
					t.Errorf("the signature is %q", got)
				}
				if got := head(t, at, pipeline.CosignTags(s.image.Digest)[2]); got != s.text.Digest.String() {
					t.Errorf("cosign's SBOM is %q", got)
				}
			}
			hasTag := head(t, to.host(), pipeline.ReferrersTag(s.image.Digest)) != ""
			if needsTag := strings.HasSuffix(what, "older"); hasTag != needsTag {
				t.Errorf("the tag for the list is there: %v", hasTag)
			}
			checkOrder(t, to, s)
		})
	}
}

// checkOrder looks that the subject came before its referrer and the name last.
func checkOrder(t *testing.T, to *far, s signed) {
	t.Helper()
	var puts []string
	for _, r := range to.requests("PUT /v2/team/app/manifests/") {
		puts = append(puts, r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
	}
	at := func(version string) int { return slices.Index(puts, version) }
	if at(s.image.Digest.String()) > at(s.sbom.Digest.String()) || at(s.index.Digest.String()) < 0 ||
		at(s.index.Digest.String()) > at(s.signature.Digest.String()) || at("1") != len(puts)-1 {
		t.Errorf("manifests were put in the order %v", puts)
	}
}

func TestNothingAsksForReferrersWithoutTheOption(t *testing.T) {
	t.Parallel()
	s, far := newSigned(t), newer(t)
	if err := copyTo(t, s, far); err != nil {
		t.Fatal(err)
	}
	o := withReferrers()
	o.Referrers = false
	dst, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1", o)
	if err != nil || len(dst.Committed) != 2 || len(far.requests("/referrers/")) != 0 || len(far.requests("GET /v2/team/app/manifests/sha256-")) != 0 {
		t.Errorf("%v: %d manifests, asked %d times", err, len(dst.Committed), len(far.requests("/referrers/")))
	}
}

// answerPages serves the list of an image's referrers one by one.
func answerPages(s signed, next func(r *http.Request, n int) string) hook {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/referrers/"+s.image.Digest.String()) {
			return false
		}
		n := len(r.URL.Query().Get("n"))
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		if link := next(r, n); link != "" {
			w.Header().Set("Link", "<"+link+`>; rel="next"`)
		}
		entries := []ocispec.Descriptor{}
		if n == 2 {
			entries = append(entries, s.sbom)
		}
		_ = json.NewEncoder(w).Encode(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: entries})
		return true
	}
}

func TestListOfReferrersComesInPages(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		next func(r *http.Request, n int) string
		want string // of the error
	}{
		"three pages": {func(r *http.Request, n int) string {
			if n == 2 {
				return ""
			}
			return r.URL.Path + "?n=" + strings.Repeat("x", n+1)
		}, ""},
		"with the way back": {func(r *http.Request, n int) string {
			if n == 2 {
				return ""
			}
			return r.URL.Path + `>; rel="prev", <` + r.URL.Path + "?n=" + strings.Repeat("x", n+1)
		}, ""},
		"without end":      {func(r *http.Request, _ int) string { return r.URL.Path + "?n=xxx" }, "pages"},
		"at another place": {func(*http.Request, int) string { return "http://127.0.0.1:1/v2/" }, "another place"},
	} {
		s := newSigned(t)
		far := newer(t, answerPages(s, c.next))
		if err := copyTo(t, s, far); err != nil {
			t.Fatal(err)
		}
		dst, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1", withReferrers())
		if c.want == "" && (err != nil || len(dst.Committed) != 6) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, %d manifests", what, err, len(dst.Committed))
		}
	}
}

// Whatever says that there is no API, the tag is read; what says something else
// is an error.
func TestWhoLacksTheAPIIsAskedForTheTag(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		status int
		kind   string
		ok     bool
	}{
		"not found":         {http.StatusNotFound, "application/json", true},
		"unknown path":      {http.StatusMethodNotAllowed, "text/plain", true},
		"a page":            {http.StatusOK, "text/html", true},
		"who are you":       {http.StatusForbidden, "application/json", false},
		"not now, for ever": {http.StatusServiceUnavailable, "text/plain", false},
	} {
		s := newSigned(t)
		far := serve(t, emptyRegistry(), func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/referrers/") {
				return false
			}
			w.Header().Set("Content-Type", c.kind)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, "<html>")
			return true
		})
		if err := copyTo(t, s, far); err != nil {
			t.Fatal(err)
		}
		cfg := quick()
		cfg.Retries = -1
		dst, _, err := pull(t, cfg, "registry://"+far.host()+"/team/app:1", withReferrers())
		var status *remote.StatusError
		if c.ok && (err != nil || len(dst.Committed) != 6) || !c.ok && !errors.As(err, &status) {
			t.Errorf("%s: %v, %d manifests", what, err, len(dst.Committed))
		}
		if n := len(far.requests("/referrers/")); c.ok && n > 4 {
			t.Errorf("%s: asked %d times", what, n)
		}
	}
}

// A registry that gives other bytes than its list promises is refused.
func TestTamperedReferrerIsRefused(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	far := newer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/manifests/"+s.sbom.Digest.String()) {
			return false
		}
		w.Header().Set("Content-Type", s.sbom.MediaType)
		_, _ = w.Write(bytes.Replace(s.Store.Bytes(s.sbom.Digest), []byte("sbom"), []byte("mobs"), 1))
		return true
	})
	if err := copyTo(t, s, far); err != nil {
		t.Fatal(err)
	}
	dst, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1", withReferrers())
	if !errors.Is(err, pipeline.ErrDigest) || len(dst.Published) != 0 {
		t.Errorf("%v, published %d", err, len(dst.Published))
	}
}
