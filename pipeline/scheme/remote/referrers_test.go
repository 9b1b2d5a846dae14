package remote_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
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

// A list that is there already keeps what it has, bytes and all; what is in it is
// not added again.
func TestListOfReferrersIsMerged(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	far := serve(t, emptyRegistry())
	tag := pipeline.ReferrersTag(s.image.Digest)
	theirs := s.Store.Referrer(t, s.image, "theirs")
	body := string(s.Store.Bytes(theirs.Digest))
	s.Store.Delete(theirs.Digest)
	put(t, far, theirs.Digest.String(), theirs.MediaType, body)
	foreign := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + theirs.Digest.String() + `","size":7,"x":1}`
	put(t, far, tag, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`+foreign+`],"y":2}`)
	for range 2 {
		if err := copyTo(t, s, far); err != nil {
			t.Fatal(err)
		}
	}
	raw := get(t, far, tag)
	var idx ocispec.Index
	if err := json.Unmarshal(raw, &idx); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte(foreign)) || !bytes.Contains(raw, []byte(`"y":2`)) || len(idx.Manifests) != 2 ||
		idx.Manifests[1].Digest != s.sbom.Digest || idx.Manifests[1].ArtifactType != pipelinetest.SBOMType {
		t.Errorf("the list is %s", raw)
	}
	if n := putsOf(far, tag); n != 2 { // ours above, and one
		t.Errorf("the list was put %d times", n)
	}
}

// putsOf counts how often a manifest was put under just this tag.
func putsOf(far *far, tag string) (n int) {
	for _, r := range far.requests("PUT /v2/team/app/manifests/" + tag) {
		if strings.HasSuffix(r.URL.Path, "/"+tag) {
			n++
		}
	}
	return n
}

func put(t *testing.T, far *far, version, mediaType, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, far.URL+"/v2/team/app/manifests/"+version, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := far.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("put %s: %v, %d", version, err, resp.StatusCode)
	}
}

func get(t *testing.T, far *far, tag string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, far.URL+"/v2/team/app/manifests/"+tag, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := far.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A registry that knows conditions tells that somebody else was faster: the list
// is read and merged again.
func TestListThatOthersChangedIsMergedAgain(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	tag := pipeline.ReferrersTag(s.image.Digest)
	var version atomic.Int64
	far := serve(t, emptyRegistry(), func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, tag) {
			return false
		}
		etag := fmt.Sprintf(`"%d"`, version.Load())
		switch {
		case r.Method == http.MethodGet:
			w.Header().Set("ETag", etag)
			if version.Load() == 1 {
				version.Add(1) // somebody else puts one
			}
		case r.Header.Get("If-Match") == "" && version.Load() == 0:
			version.Add(1)
		case r.Header.Get("If-Match") != etag:
			http.Error(w, "", http.StatusPreconditionFailed)
			return true
		}
		return false
	})
	put(t, far, tag, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	if err := copyTo(t, s, far); err != nil {
		t.Fatal(err)
	}
	if n := putsOf(far, tag); n != 3 || len(referrersOf(t, far.host(), s.image.Digest)) != 1 {
		t.Errorf("the list was put %d times: %s", n, get(t, far, tag))
	}
}

// Many registries know no conditions: who was a moment later overwrites the list.
// What is missing then is added again.
func TestListThatOthersOverwroteIsMergedAgain(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	tag := pipeline.ReferrersTag(s.image.Digest)
	theirs := s.Store.Referrer(t, s.image, "theirs")
	body := string(s.Store.Bytes(theirs.Digest))
	s.Store.Delete(theirs.Digest)
	var gets atomic.Int64
	var far *far
	far = serve(t, emptyRegistry(), func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, tag) && gets.Add(1) == 2 {
			put(t, far, theirs.Digest.String(), theirs.MediaType, body)
			put(t, far, tag, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`+
				`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"`+theirs.Digest.String()+`","size":7}]}`)
		}
		return false
	})
	if err := copyTo(t, s, far); err != nil {
		t.Fatal(err)
	}
	if got := referrersOf(t, far.host(), s.image.Digest); len(got) != 2 {
		t.Errorf("the image has the referrers %v", got)
	}
}

// A list in which nothing of ours stays is an error: the image gets no name.
func TestListThatDoesNotKeepWhatWasPutIsAnError(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	tag := pipeline.ReferrersTag(s.image.Digest)
	far := serve(t, emptyRegistry(), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, tag) {
			return false
		}
		http.NotFound(w, r)
		return true
	})
	if err := copyTo(t, s, far); err == nil || !strings.Contains(err.Error(), tag) || head(t, far.host(), "1") != "" {
		t.Errorf("%v; the name is %q", err, head(t, far.host(), "1"))
	}
}

// What is no list of referrers under that tag belongs to somebody: the run fails
// and gives the image no name.
func TestSomethingElseUnderTheListsTagIsNotOverwritten(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	far := serve(t, emptyRegistry())
	tag := pipeline.ReferrersTag(s.image.Digest)
	if err := copyTo(t, s.Store.Source(s.image), far); err != nil {
		t.Fatal(err)
	}
	body := s.Store.Bytes(s.image.Digest)
	other := sink(t, quick(), "registry://"+far.host()+"/team/app:"+tag)
	o := withReferrers()
	o.Referrers = false
	if _, err := pipeline.Run(t.Context(), s.Store.Source(s.image), nil, other, o); err != nil {
		t.Fatal(err)
	}
	_, err := pipeline.Run(t.Context(), s, nil, sink(t, quick(), "registry://"+far.host()+"/team/app:2"), withReferrers())
	if err == nil || !strings.Contains(err.Error(), "not overwritten") || head(t, far.host(), "2") != "" || !bytes.Equal(get(t, far, tag), body) {
		t.Errorf("%v; the tag is %q", err, head(t, far.host(), "2"))
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
