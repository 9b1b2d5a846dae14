package route_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/route"
)

const (
	indexType = "application/vnd.oci.image.index.v1+json"
	emptyList = `{"schemaVersion":2,"mediaType":"` + indexType + `","manifests":[]}`
)

// world has a registry for what is pushed, and one as docker.io with tags in library/alpine.
func world(t *testing.T) *route.Switch {
	t.Helper()
	pushed := registry.New(pipelinetest.NewRegistry().Backend(), registry.Options{})
	hub := registry.New(pipelinetest.NewRegistry().Backend(), registry.Options{})
	for _, tag := range []string{"1", "2", "3"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/v2/library/alpine/manifests/"+tag, strings.NewReader(emptyList))
		r.Header.Set("Content-Type", indexType)
		w := httptest.NewRecorder()
		hub.ServeHTTP(w, r)
		if w.Code != http.StatusCreated {
			t.Fatal(w.Code, w.Body)
		}
	}
	return &route.Switch{Table: table(t, usual), Pushed: pushed, Mirrored: func(name string) *registry.Handler {
		if name != "docker.io" {
			t.Errorf("%s is asked", name)
		}
		return hub
	}}
}

// An answer is what came back.
type answer struct {
	StatusCode int
	Header     http.Header
	body       string
}

func ask(t *testing.T, h http.Handler, method, address, body string) answer {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	r.Header.Set("Content-Type", indexType)
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Result().Header, w.Body.String()}
}

// A client that follows Link stays in the name that it began with.
func TestLinksLeadOnInTheClientsNames(t *testing.T) {
	t.Parallel()
	s := world(t)
	for _, begin := range []string{
		"/v2/docker.io/library/alpine/tags/list?n=1", "/v2/hub/alpine/tags/list?n=1",
		"/v2/library/alpine/tags/list?n=1&ns=docker.io", "/v2/alpine/tags/list?n=1&ns=index.docker.io",
	} {
		var pages int
		for at := begin; at != ""; pages++ {
			if pages == 4 {
				t.Fatalf("%s leads on and on: %s", begin, at)
			}
			a := ask(t, s, http.MethodGet, at, "")
			name, _, _ := strings.Cut(strings.TrimPrefix(begin, "/v2/"), "/tags/")
			if want := `{"name":"` + name + `","tags":["` + string(rune('1'+pages)) + `"]}`; a.StatusCode != 200 || strings.TrimSpace(a.body) != want {
				t.Fatalf("%s: %d %s, want %s", at, a.StatusCode, a.body, want)
			}
			at, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
		}
		if pages != 3 {
			t.Errorf("%s has %d pages", begin, pages)
		}
	}
}

// What is pushed is at the place that the answer names, and nowhere else.
func TestPushedAndMirroredNamesAreDisjoint(t *testing.T) {
	t.Parallel()
	s := world(t)
	if a := ask(t, s, http.MethodPut, "/v2/library/alpine/manifests/1", emptyList); a.StatusCode != 201 || ask(t, s, http.MethodGet, a.Header.Get("Location"), "").StatusCode != 200 {
		t.Fatal(a.StatusCode)
	}
	a := ask(t, s, http.MethodPut, "/v2/library/alpine/manifests/new", emptyList)
	if a.StatusCode != 201 {
		t.Fatal(a.StatusCode)
	}
	for address, want := range map[string]int{
		"/v2/library/alpine/manifests/new":              200,
		"/v2/library/alpine/manifests/new?ns=docker.io": 404,
		"/v2/docker.io/library/alpine/manifests/new":    404,
		"/v2/library/alpine/manifests/2":                404,
		"/v2/library/alpine/manifests/2?ns=docker.io":   200,
		"/v2/hub/alpine/manifests/2":                    200,
	} {
		if a := ask(t, s, http.MethodGet, address, ""); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", address, a.StatusCode, want)
		}
	}
	blob := digest.FromString("x").String()
	up := ask(t, s, http.MethodPost, "/v2/docker.io/library/alpine/blobs/uploads/?digest="+blob, "x")
	if up.StatusCode != 403 || !strings.Contains(up.body, `"DENIED"`) {
		t.Errorf("%d %s", up.StatusCode, up.body)
	}
}

func TestWhatIsNotPermittedReachesNobody(t *testing.T) {
	t.Parallel()
	s := world(t)
	var routed []string
	s.Permit = func(w http.ResponseWriter, _ *http.Request, target route.Target) error {
		if target.Kind == route.Base {
			return nil
		}
		w.Header().Set("Www-Authenticate", `Basic realm="occystrap"`)
		return &registry.Error{Code: registry.Unauthorized, Message: "log in"}
	}
	s.Routed = func(_ *http.Request, target route.Target, err error) {
		routed = append(routed, target.Kind.String()+" "+target.Path.Endpoint.String())
		if (err == nil) != (target.Kind == route.Base) {
			t.Errorf("%+v: %v", target, err)
		}
	}
	a := ask(t, s, http.MethodGet, "/v2/docker.io/library/alpine/manifests/1", "")
	if a.StatusCode != 401 || a.Header.Get("Www-Authenticate") == "" || a.Header.Get("Docker-Distribution-API-Version") != "registry/2.0" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if a := ask(t, s, http.MethodGet, "/v2/", ""); a.StatusCode != 200 {
		t.Error(a.StatusCode)
	}
	if got := strings.Join(routed, ", "); got != "mirrored manifest, base base" {
		t.Error(got)
	}
}
