package registry_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a Handler over a registry in memory.
type world struct {
	t *testing.T
	http.Handler
}

func memory(t *testing.T) world { return over(t, pipelinetest.NewRegistry().Backend()) }

func over(t *testing.T, b registry.Backend) world {
	t.Helper()
	return world{t, registry.New(b, registry.Options{Failed: func(r *http.Request, err error) { t.Errorf("%s %s: %v", r.Method, r.URL, err) }})}
}

// An answer is what came back.
type answer struct {
	t *testing.T
	*http.Response
	body string
}

// ask makes a request; header is a list of names and values.
func (w world) ask(method, target, body string, header ...string) answer {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return w.send(r)
}

func (w world) send(r *http.Request) answer {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	resp := rec.Result()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Error(err)
	}
	if resp.Header.Get("Docker-Distribution-API-Version") != "registry/2.0" {
		w.t.Errorf("%s %s: no Docker-Distribution-API-Version", r.Method, r.URL)
	}
	return answer{w.t, resp, string(raw)}
}

// want checks the status, and the code of an error.
func (a answer) want(status int, code registry.Code) answer {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Errorf("status %d, want %d: %s", a.StatusCode, status, a.body)
	}
	if code != "" && a.code() != code {
		a.t.Errorf("code %q, want %q", a.code(), code)
	}
	return a
}

func (a answer) code() registry.Code {
	var doc struct {
		Errors []struct {
			Code    registry.Code
			Message string
		}
	}
	if json.Unmarshal([]byte(a.body), &doc) != nil || len(doc.Errors) != 1 {
		return ""
	}
	return doc.Errors[0].Code
}

// header checks one header.
func (a answer) header(name, value string) answer {
	a.t.Helper()
	if got := a.Header.Get(name); got != value {
		a.t.Errorf("%s is %q, want %q", name, got, value)
	}
	return a
}

// location is where an answer leads.
func (a answer) location() string { return a.Header.Get("Location") }

// with adds to a query.
func with(location, query string) string {
	if strings.Contains(location, "?") {
		return location + "&" + query
	}
	return location + "?" + query
}

// begin starts an upload to team/app and returns its address.
func (w world) begin() string {
	w.t.Helper()
	return w.ask(http.MethodPost, "/v2/team/app/blobs/uploads/", "").want(http.StatusAccepted, "").location()
}

// push stores a blob in a repository.
func (w world) push(repository, content string) ocispec.Descriptor {
	w.t.Helper()
	d := digest.FromString(content)
	w.ask(http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+d.String(), content).want(http.StatusCreated, "")
	return ocispec.Descriptor{MediaType: "text/plain", Digest: d, Size: int64(len(content))}
}

// wantBlob checks that a blob of team/app can be pulled; content "" means that it
// is not there.
func (w world) wantBlob(d digest.Digest, content string) {
	w.t.Helper()
	if content == "" {
		w.ask(http.MethodGet, "/v2/team/app/blobs/"+d.String(), "").want(http.StatusNotFound, registry.BlobUnknown)
		return
	}
	if a := w.ask(http.MethodGet, "/v2/team/app/blobs/"+d.String(), "").want(http.StatusOK, ""); a.body != content {
		w.t.Errorf("blob is %.40q, want %.40q", a.body, content)
	}
}

// artifact is a manifest; its parts are in team/app.
func (w world) artifact(edit func(*ocispec.Manifest)) string {
	w.t.Helper()
	config := w.push("team/app", "{}")
	config.MediaType = "application/x-config"
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: []ocispec.Descriptor{w.push("team/app", "layer")},
	}
	if edit != nil {
		edit(&m)
	}
	return encode(w.t, m)
}

func encode(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// put pushes a manifest to team/app under a tag or digest.
func (w world) put(ref, mediaType, manifest string) answer {
	w.t.Helper()
	return w.ask(http.MethodPut, "/v2/team/app/manifests/"+ref, manifest, "Content-Type", mediaType)
}
