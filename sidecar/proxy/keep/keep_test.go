package keep_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
	"github.com/occystrap/occystrap/sidecar/proxy/keep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A line leads every request to one server, and notes where it was meant for.
type line struct {
	to *httptest.Server

	mu    sync.Mutex
	asked []string
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.asked = append(l.asked, r.Method+" "+r.URL.Scheme+"://"+r.URL.Host+r.URL.RequestURI())
	l.mu.Unlock()
	to, err := url.Parse(l.to.URL)
	if err != nil {
		return nil, err
	}
	there := r.Clone(r.Context())
	there.Host, there.URL.Scheme, there.URL.Host = r.URL.Host, to.Scheme, to.Host
	resp, err := l.to.Client().Transport.RoundTrip(there)
	if err == nil {
		resp.Request = r
	}
	return resp, err
}

// world is a downstream that demands a token, and a client of it.
func world(t *testing.T) (*pipelinetest.Registry, *line, *remote.Client) {
	t.Helper()
	reg := pipelinetest.NewRegistry()
	h := registry.New(reg.Backend(), registry.Options{})
	l := &line{to: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			_ = json.NewEncoder(w).Encode(map[string]string{"token": "t"})
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+r.Host+`/token",service="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			h.ServeHTTP(w, r)
		}
	}))}
	t.Cleanup(l.to.Close)
	c, err := remote.NewClient(remote.Config{Transport: l, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return reg, l, c
}

// put puts an image of one file into a keeper.
func put(t *testing.T, k keep.Keeper, repository string, tags ...string) digest.Digest {
	t.Helper()
	s := pipelinetest.NewStore()
	desc := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "file", Body: "content"})}})
	sink, err := k.Sink(t.Context(), repository, tags)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pipeline.Run(t.Context(), s.Source(desc), nil, sink, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	return desc.Digest
}

// reads complains unless the keeper has an image under a tag, with its blobs.
func reads(t *testing.T, k keep.Keeper, repository, tag string, want digest.Digest) {
	t.Helper()
	desc, raw, err := k.Backend().Manifests.Get(t.Context(), repository, registry.Ref{Tag: tag})
	if err != nil || desc.Digest != want {
		t.Fatalf("%s:%s is %s, %v; want %s", repository, tag, desc.Digest, err, want)
	}
	m, err := registry.ParseManifest(desc.MediaType, raw, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range m.Blobs {
		if size, err := k.Backend().Blobs.Stat(t.Context(), repository, b.Digest); err != nil || size != b.Size {
			t.Errorf("blob %s has %d bytes, %v", b.Digest, size, err)
		}
	}
}

func TestPrefixIsInAddressesAndScopes(t *testing.T) {
	t.Parallel()
	reg, l, c := world(t)
	k := keep.Downstream(c, "ghcr.example", "myorg/mirror")
	d := put(t, k, "docker.io/library/busybox", "1", "2")
	reads(t, k, "docker.io/library/busybox", "1", d)
	const whole = "myorg/mirror/docker.io/library/busybox"
	for _, tag := range []string{"1", "2"} {
		if desc, err := reg.Backend().Manifests.Stat(t.Context(), whole, registry.Ref{Tag: tag}); err != nil || desc.Digest != d {
			t.Errorf("downstream has %s, %v", desc.Digest, err)
		}
	}
	for _, r := range l.asked {
		addr := strings.Fields(r)[1]
		if !strings.HasPrefix(addr, "https://ghcr.example/v2/"+whole+"/") && !strings.HasPrefix(addr, "https://ghcr.example/token?") {
			t.Errorf("request: %s", r)
		}
		if u, err := url.Parse(addr); err != nil || u.Path == "/token" && !strings.HasPrefix(u.Query().Get("scope"), "repository:"+whole+":pull") {
			t.Errorf("token: %s, %v", r, err)
		}
	}
	if len(l.asked) == 0 {
		t.Error("nothing was asked")
	}
}

func TestWithoutPrefix(t *testing.T) {
	t.Parallel()
	reg, _, c := world(t)
	k := keep.Downstream(c, "registry.example", "")
	d := put(t, k, "team/app")
	if _, err := reg.Backend().Manifests.Stat(t.Context(), "team/app", registry.Ref{Digest: d}); err != nil {
		t.Error(err)
	}
}

func TestHubIsAskedWhereItsAPIIs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"docker.io", "index.docker.io", "registry-1.docker.io"} {
		_, l, c := world(t)
		k := keep.Downstream(c, name, "")
		d := put(t, k, "busybox", "1")
		reads(t, k, "busybox", "1", d)
		i := slices.IndexFunc(l.asked, func(r string) bool {
			return !strings.Contains(r, "https://registry-1.docker.io/v2/library/busybox/") && !strings.Contains(r, "https://registry-1.docker.io/token?")
		})
		if i >= 0 || len(l.asked) == 0 {
			t.Errorf("%s: requests: %q", name, l.asked)
		}
	}
}

func TestNameThatIsNone(t *testing.T) {
	t.Parallel()
	_, l, c := world(t)
	k := keep.Downstream(c, "registry.example", "")
	for _, name := range []string{"../up", "UPPER", "a@sha256:" + strings.Repeat("a", 64), "a:b"} {
		if _, err := k.Backend().Manifests.Stat(t.Context(), name, registry.Ref{Tag: "1"}); err == nil {
			t.Errorf("%q is a name", name)
		}
		s := pipelinetest.NewStore()
		src := s.Source(s.Image(t, pipelinetest.Image{}))
		sink, err := k.Sink(t.Context(), name, []string{"1"})
		if err == nil {
			_, err = pipeline.Run(t.Context(), src, nil, sink, pipeline.Options{})
		}
		if err == nil {
			t.Errorf("%q is a name to push to", name)
		}
	}
	if len(l.asked) > 0 {
		t.Errorf("requests: %q", l.asked)
	}
}

type memory struct{ *pipelinetest.Registry }

func TestStoreKeeps(t *testing.T) {
	t.Parallel()
	k := keep.Store(memory{pipelinetest.NewRegistry()})
	d := put(t, k, "team/app", "1")
	reads(t, k, "team/app", "1", d)
}
