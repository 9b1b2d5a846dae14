package view_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An answer is what a test looks at of a response.
type answer struct {
	StatusCode    int
	Header        http.Header
	ContentLength int64
}

// ask is an answer and its body.
func ask(t testing.TB, s *httptest.Server, method, path string, header ...string) (answer, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := s.Client().Do(r)
	must(t, err)
	raw, err := io.ReadAll(a.Body)
	must(t, errors.Join(err, a.Body.Close()))
	return answer{a.StatusCode, a.Header, a.ContentLength}, string(raw)
}

// An image has the names that clients give it.
func TestImagesAreFoundByEveryName(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	hub := e.build("moby", "docker.io/library/app:1", "hub")
	quay := e.build("moby", "quay.io/team/app:2", "quay")
	port := e.build("moby", "registry.example:5000/app:3", "port")
	pinned := e.build("moby", "ghcr.io/team/pinned@sha256:"+strings.Repeat("0", 64), "pinned")
	s := serve(t, []string{"moby"}, e)
	for path, want := range map[string]digest.Digest{
		"/v2/app/manifests/1":                                               hub.index.Digest,
		"/v2/library/app/manifests/1":                                       hub.index.Digest,
		"/v2/docker.io/app/manifests/1":                                     hub.index.Digest,
		"/v2/docker.io/library/app/manifests/1":                             hub.index.Digest,
		"/v2/index.docker.io/library/app/manifests/1":                       hub.index.Digest,
		"/v2/library/app/manifests/1?ns=docker.io":                          hub.index.Digest,
		"/v2/library/app/manifests/1?ns=registry-1.docker.io":               hub.index.Digest,
		"/v2/quay.io/team/app/manifests/2":                                  quay.index.Digest,
		"/v2/team/app/manifests/2?ns=quay.io":                               quay.index.Digest,
		"/v2/app/manifests/3?ns=registry.example:5000":                      port.index.Digest,
		"/v2/app/manifests/" + hub.index.Digest.String():                    hub.index.Digest,
		"/v2/app/manifests/" + hub.manifest.Digest.String():                 hub.manifest.Digest,
		"/v2/app/blobs/" + hub.layer.Digest.String():                        hub.layer.Digest,
		"/v2/app/blobs/" + hub.config.Digest.String():                       hub.config.Digest,
		"/v2/ghcr.io/team/pinned/manifests/" + pinned.index.Digest.String(): pinned.index.Digest,
		"/v2/ghcr.io/team/pinned/blobs/" + pinned.layer.Digest.String():     pinned.layer.Digest,
	} {
		got, body := ask(t, s, http.MethodGet, path)
		if got.StatusCode != http.StatusOK || digest.FromString(body) != want || got.Header.Get("Docker-Content-Digest") != want.String() {
			t.Errorf("%s is %d %q", path, got.StatusCode, body)
		}
		head, _ := ask(t, s, http.MethodHead, path)
		if head.StatusCode != http.StatusOK || head.ContentLength != int64(len(body)) || head.Header.Get("Content-Type") != got.Header.Get("Content-Type") {
			t.Errorf("HEAD %s is %d, %v", path, head.StatusCode, head.Header)
		}
	}
	part, body := ask(t, s, http.MethodGet, "/v2/app/blobs/"+hub.layer.Digest.String(), "Range", "bytes=6-7")
	if part.StatusCode != http.StatusPartialContent || body != "of" {
		t.Errorf("a range is %d %q", part.StatusCode, body)
	}
}

// Nothing is there that no image of the repository reaches, in a namespace of the
// settings.
func TestOnlyWhatAnImageOfTheRepositoryReachesIsThere(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	app := e.build("moby", "docker.io/library/app:1", "app")
	other := e.build("moby", "docker.io/library/other:1", "other")
	hidden := e.build("k8s.io", "docker.io/library/hidden:1", "hidden")
	loose := e.blob("moby", "application/octet-stream", []byte("no image reaches this"))
	// The other namespace's blob is reached, by a forged manifest, and not had.
	forged := e.document("moby", app.manifest.MediaType, map[string]any{"mediaType": app.manifest.MediaType, "config": app.config, "layers": []any{hidden.layer}})
	e.name("moby", "docker.io/library/forged:1", forged)
	s := serve(t, []string{"moby"}, e)
	for _, path := range []string{
		"/v2/app/blobs/" + other.layer.Digest.String(),
		"/v2/app/blobs/" + loose.Digest.String(),
		"/v2/app/manifests/" + other.index.Digest.String(),
		"/v2/app/manifests/" + app.absent.Digest.String(), // a platform that was not pulled
		"/v2/app/manifests/" + app.layer.Digest.String(),
		"/v2/app/manifests/2",
		"/v2/app/manifests/" + app.index.Digest.Encoded(),
		"/v2/hidden/manifests/1",
		"/v2/hidden/blobs/" + hidden.layer.Digest.String(),
		"/v2/forged/blobs/" + hidden.layer.Digest.String(),
		"/v2/quay.io/app/manifests/1",
		"/v2/app/manifests/1?ns=quay.io",
		"/v2/none/tags/list",
		"/elsewhere",
	} {
		if got, body := ask(t, s, http.MethodGet, path); got.StatusCode != http.StatusNotFound || !strings.Contains(body, `"code":"`) {
			t.Errorf("%s is %d %s", path, got.StatusCode, body)
		}
	}
	for _, path := range []string{"/v2/app/manifests/1?ns=a.io&ns=b.io", "/v2/app/manifests/1?ns=", "/v2/app/manifests/1?ns=..%2f..", "/v2/a%2fb/manifests/1", "/v2/app/manifests/1?ns=%zz"} {
		if got, _ := ask(t, s, http.MethodGet, path); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s is %d", path, got.StatusCode)
		}
	}
}

func TestNothingCanBeChanged(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	app := e.build("moby", "docker.io/library/app:1", "app")
	s := serve(t, []string{"moby"}, e)
	for _, r := range [][2]string{
		{http.MethodPost, "/v2/app/blobs/uploads/"},
		{http.MethodPost, "/v2/app/blobs/uploads/?mount=" + app.layer.Digest.String() + "&from=library/other"},
		{http.MethodPut, "/v2/app/manifests/1"},
		{http.MethodDelete, "/v2/app/manifests/1"},
		{http.MethodDelete, "/v2/app/manifests/" + app.index.Digest.String()},
		{http.MethodDelete, "/v2/app/blobs/" + app.layer.Digest.String()},
	} {
		if got, body := ask(t, s, r[0], r[1]); got.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(body, `"code":"`) {
			t.Errorf("%s %s is %d %s", r[0], r[1], got.StatusCode, body)
		}
	}
}

func TestTagsAreListed(t *testing.T) {
	t.Parallel()
	first, second := newEngine(t), newEngine(t)
	for i := range 5 {
		first.build("moby", fmt.Sprintf("quay.io/a/b:%d", i), fmt.Sprint(i))
	}
	second.build("moby", "quay.io/a/b:3", "another")
	second.build("moby", "quay.io/a/b:x", "x")
	first.build("moby", "quay.io/a/b@sha256:"+strings.Repeat("1", 64), "pinned")
	s := serve(t, []string{"moby"}, first, second)
	got, body := ask(t, s, http.MethodGet, "/v2/a/b/tags/list?ns=quay.io&n=4")
	if got.StatusCode != http.StatusOK || strings.TrimSpace(body) != `{"name":"a/b","tags":["0","1","2","3"]}` {
		t.Errorf("%d %s", got.StatusCode, body)
	}
	next, _, _ := strings.Cut(strings.TrimPrefix(got.Header.Get("Link"), "<"), ">")
	if _, body = ask(t, s, http.MethodGet, next); strings.TrimSpace(body) != `{"name":"a/b","tags":["4","x"]}` {
		t.Errorf("the link %q leads to %s", next, body)
	}
}

// What is pulled, deleted and damaged meanwhile is seen: nothing is remembered for
// longer than the database says so.
func TestTheViewIsOfNow(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	s := serve(t, []string{"moby"}, e)
	if got, _ := ask(t, s, http.MethodGet, "/v2/app/manifests/1"); got.StatusCode != http.StatusNotFound {
		t.Errorf("before: %d", got.StatusCode)
	}
	one := e.build("moby", "docker.io/library/app:1", "one")
	if _, body := ask(t, s, http.MethodGet, "/v2/app/manifests/1"); digest.FromString(body) != one.index.Digest {
		t.Error(body)
	}
	two := e.build("moby", "docker.io/library/app:1", "two")
	if _, body := ask(t, s, http.MethodGet, "/v2/app/manifests/1"); digest.FromString(body) != two.index.Digest {
		t.Error(body)
	}
	if got, _ := ask(t, s, http.MethodGet, "/v2/app/blobs/"+one.layer.Digest.String()); got.StatusCode != http.StatusNotFound {
		t.Errorf("a layer that no name reaches any more is %d", got.StatusCode)
	}
	must(t, os.Remove(e.file(two.layer.Digest)))
	if got, _ := ask(t, s, http.MethodGet, "/v2/app/blobs/"+two.layer.Digest.String()); got.StatusCode != http.StatusNotFound {
		t.Errorf("a layer that is not on the disk is %d", got.StatusCode)
	}
	must(t, os.Chmod(e.file(two.index.Digest), 0o644))
	must(t, os.WriteFile(e.file(two.index.Digest), []byte(`{"manifests":[]}`), 0o644))
	if got, body := ask(t, s, http.MethodGet, "/v2/app/manifests/1"); got.StatusCode == http.StatusOK {
		t.Errorf("a manifest of another digest is served: %s", body)
	}
}

// go-containerregistry, as crane and scanners have it, pulls from the view.
func TestGoContainerregistryPulls(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	app := e.build("moby", "docker.io/library/app:1", "app")
	s := serve(t, []string{"moby"}, e)
	ref, err := name.ParseReference(strings.TrimPrefix(s.URL, "http://")+"/docker.io/library/app:1", name.Insecure)
	must(t, err)
	transport := s.Client().Transport
	index, err := remote.Index(ref, remote.WithContext(t.Context()), remote.WithTransport(transport))
	must(t, err)
	m, err := index.IndexManifest()
	must(t, err)
	image, err := index.Image(m.Manifests[0].Digest)
	must(t, err)
	layers, err := image.Layers()
	must(t, err)
	r, err := layers[0].Compressed()
	must(t, err)
	raw, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	if digest.FromBytes(raw) != app.layer.Digest {
		t.Errorf("the layer is %q", raw)
	}
}
