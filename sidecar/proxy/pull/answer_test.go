package pull_test

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
)

const noDigest = digest.Digest("sha256:00000000000000000000000000000000000000000000000000000000000000aa")

func TestAnswersToFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		fault  func(http.ResponseWriter, *http.Request) bool
		status int
		code   string
	}{
		{"404", nil, 404, "_UNKNOWN"},
		{"401", status(401), 403, `"DENIED"`},
		{"403", status(403), 403, `"DENIED"`},
		{"429", status(429, "Retry-After", "120"), 429, `"TOOMANYREQUESTS"`},
		{"400", status(400), 502, "errors"},
		{"500", status(500), 502, "errors"},
		{"502", status(502), 502, "errors"},
		{"cut", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, 502, "errors"},
		{"nonsense", func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, "<html>")
			return true
		}, 502, "errors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			up := newFar(t)
			up.fail(c.fault)
			w := newWorld(t, up, nil)
			for _, path := range []string{manifestPath("1"), manifestPath(noDigest.String()), blobPath(noDigest), repo + "/tags/list"} {
				if c.name == "nonsense" && strings.Contains(path, "blobs") {
					continue // any bytes may be a blob: its digest tells at its end
				}
				got := w.get(path)
				if got.status != c.status || !strings.Contains(got.body, c.code) {
					t.Errorf("GET %s: status %d: %s", path, got.status, got.body)
				}
				if c.status == 403 && !strings.Contains(got.body, host) {
					t.Errorf("GET %s does not name the upstream: %s", path, got.body)
				}
				if after, _ := strconv.Atoi(got.header.Get("Retry-After")); c.status == 429 && (after < 100 || after > 300) {
					t.Errorf("GET %s: Retry-After is %d", path, after)
				}
			}
		})
	}
}

func TestUpstreamThatIsNotThere(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	w := newWorld(t, up, nil)
	up.srv.Close()
	for _, path := range []string{manifestPath("1"), blobPath(noDigest)} {
		if got := w.want(path, 502); !strings.Contains(got.body, host) {
			t.Errorf("GET %s: %s", path, got.body)
		}
	}
}

func TestUpstreamThatIsNotConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newFar(t), nil)
	b := w.pull.Backend("other.example")
	if _, err := b.Manifests.Stat(t.Context(), repo, registry.Ref{Tag: "1"}); !isMissing(err) {
		t.Errorf("manifest: %v", err)
	}
	if _, _, err := b.Manifests.Get(t.Context(), repo, registry.Ref{Tag: "1"}); !isMissing(err) {
		t.Errorf("manifest: %v", err)
	}
	if _, err := b.Blobs.Stat(t.Context(), repo, noDigest); !isMissing(err) {
		t.Errorf("blob: %v", err)
	}
	if _, err := b.Tags.List(t.Context(), repo, "", 1); !isMissing(err) {
		t.Errorf("tags: %v", err)
	}
}

func isMissing(err error) bool {
	return err != nil && strings.Contains(err.Error(), pipeline.ErrNotFound.Error())
}

func TestHubHasOneName(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, _ := up.image(t, "library/busybox", "1", "content")
	w := newWorld(t, up, func(c *pull.Config) { c.Upstreams[0].Host = "index.docker.io" })
	for _, name := range []string{"docker.io", "index.docker.io", "registry-1.docker.io", "Docker.IO"} {
		desc, err := w.pull.Backend(name).Manifests.Stat(t.Context(), "library/busybox", registry.Ref{Tag: "1"})
		if err != nil || desc.Digest != m.Digest {
			t.Errorf("%s: %s, %v", name, desc.Digest, err)
		}
	}
	if got := w.pull.Hosts(); !slices.Equal(got, []string{"docker.io"}) {
		t.Errorf("hosts: %q", got)
	}
	_, err := pull.New(pull.Config{Space: w.spaces.get, Upstreams: []pull.Upstream{
		{Host: "docker.io", Client: client(t)}, {Host: "registry-1.docker.io", Client: client(t)},
	}})
	if err == nil {
		t.Error("two upstreams of one host")
	}
}

func TestWhatIsNotThereIsNotAskedForAgainAtOnce(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	w := newWorld(t, up, nil)
	paths := []string{manifestPath("1"), manifestPath(noDigest.String()), blobPath(noDigest)}
	for range 10 {
		for _, path := range paths {
			w.want(path, 404)
		}
	}
	if got := up.requests(""); len(got) != len(paths) {
		t.Errorf("requests: %q", got)
	}
	m, layer := up.image(t, repo, "1", "content")
	w.clock.add(10 * time.Second)
	if got := w.want(manifestPath("1"), 200); got.digest() != m.Digest {
		t.Errorf("%s", got.digest())
	}
	w.want(blobPath(layer), 200)
}

func TestLittleBudgetIsForWhatIsNotKept(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.image(t, repo, "1", "content")
	up.image(t, repo, "2", "other")
	var left atomic.Int64
	left.Store(50)
	up.fail(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("RateLimit-Limit", "100;w=600")
		w.Header().Set("RateLimit-Remaining", strconv.FormatInt(left.Load(), 10)+";w=600")
		return false
	})
	w := newWorld(t, up, func(c *pull.Config) { c.Upstreams[0].Times = pull.Times{StaleWhile: -1} })
	w.want(manifestPath("1"), 200)
	w.clock.add(time.Hour)
	up.requests("")
	left.Store(5) // after this answer
	w.want(manifestPath("1"), 200)
	same(t, up.requests(""), "HEAD "+manifestPath("1"))
	w.clock.add(6 * time.Minute)
	w.want(manifestPath("1"), 200)
	same(t, up.requests("")) // it is kept
	w.want(manifestPath("2"), 200)
	same(t, up.requests(""), "GET "+manifestPath("2")) // it is not
	w.clock.add(11 * time.Minute)
	w.want(manifestPath("1"), 200)
	same(t, up.requests(""), "HEAD "+manifestPath("1")) // there should be more again
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.image(t, repo, "1", "content")
	w := newWorld(t, up, func(c *pull.Config) { c.Upstreams[0].Times = pull.Times{StaleWhile: -1} })
	w.want(manifestPath("1"), 200)
	up.fail(status(429, "Retry-After", "3600"))
	if got := w.get(manifestPath("2")); got.status != 429 {
		t.Errorf("status %d", got.status)
	}
	up.requests("")
	up.fail(nil)
	w.clock.add(6 * time.Minute)
	w.want(manifestPath("1"), 200) // the old one
	got := w.get(manifestPath("3"))
	if after, _ := strconv.Atoi(got.header.Get("Retry-After")); got.status != 429 || after < 3000 || after > 3700 {
		t.Errorf("status %d, Retry-After %d", got.status, after)
	}
	same(t, up.requests(""))
}

func TestTagList(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.image(t, repo, "1", "content")
	up.image(t, repo, "2", "content")
	w := newWorld(t, up, nil)
	w.want(manifestPath("1"), 200)
	if got := w.want(repo+"/tags/list", 200); !strings.Contains(got.body, `["1","2"]`) {
		t.Errorf("%s", got.body)
	}
	if got := w.want(repo+"/tags/list?n=1", 200); !strings.Contains(got.body, `["1"]`) || got.header.Get("Link") == "" {
		t.Errorf("%s", got.body)
	}
	up.fail(status(503))
	if got := w.want(repo+"/tags/list", 200); !strings.Contains(got.body, `["1"]`) { // those that are kept
		t.Errorf("%s", got.body)
	}
	w.want("no/such/tags/list", 502)
}

func TestReferrersComeAlong(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, _ := up.image(t, repo, "1", "content")
	s := pipelinetest.NewStore()
	config := s.Put(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	sbom := s.Put("application/sbom", []byte("sbom"))
	refers := s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: versioned, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/sbom",
		Config: config, Layers: []ocispec.Descriptor{sbom}, Subject: &m,
	})
	up.push(t, repo, "sbom", s.Source(refers))
	w := newWorld(t, up, nil)
	path := repo + "/referrers/" + m.Digest.String()
	up.requests("")
	if got := w.want(path, 200); !strings.Contains(got.body, refers.Digest.String()) {
		t.Errorf("%s", got.body)
	}
	first := len(up.requests(""))
	if got := w.want(path, 200); !strings.Contains(got.body, refers.Digest.String()) || first == 0 {
		t.Errorf("%s", got.body)
	}
	same(t, up.requests(""))
	up.fail(status(500))
	w.clock.add(time.Hour)
	if got := w.want(path, 200); !strings.Contains(got.body, refers.Digest.String()) {
		t.Errorf("%s", got.body)
	}
	w.want(repo+"/referrers/"+noDigest.String(), 502) // nothing is known of it
	up.fail(nil)
	w.clock.add(time.Hour)
	w.pullAll(t, w.want(manifestPath(refers.Digest.String()), 200))
	if got := w.want(repo+"/referrers/"+noDigest.String(), 200); !strings.Contains(got.body, `"manifests":[]`) {
		t.Errorf("%s", got.body)
	}
	// That there are none is kept of what is here, and not of all digests that there are.
	up.requests("")
	w.want(repo+"/referrers/"+noDigest.String(), 200)
	if len(up.requests("")) == 0 {
		t.Error("a list is kept of a manifest that nobody has")
	}
	w.want(repo+"/referrers/"+refers.Digest.String(), 200)
	up.requests("")
	w.want(repo+"/referrers/"+refers.Digest.String(), 200)
	same(t, up.requests(""))
}

func TestLoginsOfOneHostDoNotMix(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	_, layer := up.image(t, repo, "1", "content")
	in := &spaces{dir: t.TempDir(), m: map[string]*space{}}
	w := newWorldIn(t, up, in, func(c *pull.Config) { c.Upstreams[0].Login = "somebody" })
	w.want(manifestPath("1"), 200)
	w.want(blobPath(layer), 200)
	in.mu.Lock()
	for name := range in.m {
		if strings.Contains(name, "somebody") {
			t.Errorf("the login is in the name %q", name)
		}
	}
	in.mu.Unlock()
	other := newWorldIn(t, up, in, nil)
	up.fail(status(403))
	other.want(manifestPath("1"), 403)
	other.want(blobPath(layer), 403)
}
