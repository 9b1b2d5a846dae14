package registry_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// FuzzRequest: whatever a client asks for, the server neither panics nor takes the
// fault for its own, and writes nothing into headers that does not belong there.
func FuzzRequest(f *testing.F) {
	d := digest.FromString("x").String()
	for _, s := range [][5]string{
		{"GET", "/v2/", "", "", ""},
		{"GET", "/v2/a/b/tags/list", "n=1&last=x", "", ""},
		{"GET", "/v2/team/app/blobs/" + d, "", "bytes=0-1", ""},
		{"GET", "/v2/team/app/manifests/latest", "", "", ""},
		{"GET", "/v2/team/app/referrers/" + d, "artifactType=a%0d%0ab", "", ""},
		{"POST", "/v2/team/app/blobs/uploads/", "mount=" + d + "&from=other", "", ""},
		{"POST", "/v2/team/app/blobs/uploads/", "digest=" + d, "", "x"},
		{"POST", "/v2/team/app/blobs/uploads/", "digest-algorithm=sha512", "0-1", "x"},
		{"PATCH", "UPLOAD", "", "0-0", "x"},
		{"PUT", "UPLOAD", "digest=" + d, "0-0", "x"},
		{"PUT", "/v2/team/app/manifests/1", "tag=a", imageType, `{"schemaVersion":2,"config":{"digest":"` + d + `"},"layers":null}`},
		{"PUT", "/v2/team/app/manifests/1", "", indexType, `{"schemaVersion":2,"manifests":[]}`},
		{"DELETE", "/v2/team/app/manifests/1", "", "", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4])
	}
	f.Fuzz(func(t *testing.T, method, path, query, field, body string) {
		w := world{t, registry.New(memoryBackend(), registry.Options{})}
		w.put("1", imageType, w.artifact(nil))
		if path == "UPLOAD" {
			path = w.begin()
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		for _, name := range []string{"Range", "Content-Range", "Content-Type", "If-None-Match", "If-Range"} {
			r.Header.Set(name, field)
		}
		a := w.send(r)
		if a.StatusCode >= 500 {
			t.Errorf("status %d: %s", a.StatusCode, a.body)
		}
		for name, values := range a.Header {
			if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("%s: %q", name, values)
			}
		}
		for _, name := range []string{"Location", "Link"} {
			if v := a.Header.Get(name); v != "" && !strings.HasPrefix(strings.TrimPrefix(v, "<"), "/v2/") {
				t.Errorf("%s leads to %q", name, v)
			}
		}
	})
}
