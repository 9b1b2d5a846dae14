package registry_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
)

func TestPathsAreReadByTheGrammar(t *testing.T) {
	t.Parallel()
	d := digest.FromString("x").String()
	for _, c := range []struct {
		method, path string
		status       int
		code         registry.Code
	}{
		{"GET", "/v2/", 200, ""},
		{"HEAD", "/v2/", 200, ""},
		{"GET", "/v2", 200, ""},
		{"POST", "/v2/", 405, registry.Unsupported},
		{"GET", "/", 404, registry.NameUnknown},
		{"GET", "/v1/", 404, registry.NameUnknown},
		{"GET", "/v2x/a/tags/list", 404, registry.NameUnknown},
		{"GET", "/v2/_catalog", 404, registry.NameUnknown},
		{"GET", "/v2/a/b/c", 404, registry.NameUnknown},
		{"GET", "/v2//manifests/1", 400, registry.NameInvalid},
		{"GET", "/v2/../manifests/1", 400, registry.NameInvalid},
		{"GET", "/v2/a/../b/manifests/1", 400, registry.NameInvalid},
		{"GET", "/v2/a//b/manifests/1", 400, registry.NameInvalid},
		{"GET", "/v2/a%2Fb/manifests/1", 400, registry.NameInvalid},
		{"GET", "/v2/A/manifests/1", 400, registry.NameInvalid},
		{"GET", "/v2/a..b/manifests/1", 400, registry.NameInvalid},
		{"GET", "/v2/a_/tags/list", 400, registry.NameInvalid},
		{"GET", "/v2/" + strings.Repeat("a", 256) + "/tags/list", 400, registry.NameInvalid},
		{"GET", "/v2/" + strings.Repeat("a", 255) + "/tags/list", 404, registry.NameUnknown},
		{"GET", "/v2/a---b/c__d/e.f/tags/list", 404, registry.NameUnknown},
		{"GET", "/v2/blobs/uploads/manifests/tags/list", 404, registry.NameUnknown},
		{"GET", "/v2/a/blobs/uploads/tags/list", 404, registry.NameUnknown},
		{"GET", "/v2/a/manifests/1", 404, registry.ManifestUnknown},
		{"GET", "/v2/manifests/manifests/manifests", 404, registry.ManifestUnknown},
		{"HEAD", "/v2/a/manifests/1", 404, ""},
		{"GET", "/v2/a/manifests/" + d, 404, registry.ManifestUnknown},
		{"GET", "/v2/a/manifests/" + strings.Replace(d, ":", "%3A", 1), 404, registry.ManifestUnknown},
		{"GET", "/v2/a/manifests/-1", 400, registry.ManifestInvalid},
		{"GET", "/v2/a/manifests/1%0d%0aX-Evil:1", 400, registry.DigestInvalid},
		{"GET", "/v2/a/manifests/" + strings.Repeat("t", 129), 400, registry.ManifestInvalid},
		{"GET", "/v2/a/manifests/sha256:beef", 400, registry.DigestInvalid},
		{"DELETE", "/v2/a/manifests/1", 404, registry.ManifestUnknown},
		{"DELETE", "/v2/a/manifests/" + d, 404, registry.ManifestUnknown},
		{"POST", "/v2/a/manifests/1", 405, registry.Unsupported},
		{"GET", "/v2/a/blobs/" + d, 404, registry.BlobUnknown},
		{"GET", "/v2/a/blobs/latest", 400, registry.DigestInvalid},
		{"GET", "/v2/a/blobs/sha384:" + digest.SHA384.FromString("x").Encoded(), 400, registry.DigestInvalid},
		{"GET", "/v2/a/blobs/" + strings.ToUpper(d), 400, registry.DigestInvalid},
		{"DELETE", "/v2/a/blobs/" + d, 404, registry.BlobUnknown},
		{"PUT", "/v2/a/blobs/" + d, 405, registry.Unsupported},
		{"GET", "/v2/a/blobs/uploads/", 405, registry.Unsupported},
		{"GET", "/v2/a/blobs/uploads/..", 404, registry.BlobUploadUnknown},
		{"GET", "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000", 404, registry.BlobUploadUnknown},
		{"DELETE", "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000", 404, registry.BlobUploadUnknown},
		{"POST", "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000", 405, registry.Unsupported},
		{"POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", 400, registry.DigestInvalid},
		{"POST", "/v2/a/blobs/uploads/?digest=sha256:1", 400, registry.DigestInvalid},
		{"POST", "/v2/a/blobs/uploads/?mount=sha256:1", 400, registry.DigestInvalid},
		{"POST", "/v2/a/blobs/uploads", 202, ""},
		{"GET", "/v2/a/tags/list?n=-1", 400, registry.Unsupported},
		{"GET", "/v2/a/tags/list?n=", 400, registry.Unsupported},
		{"GET", "/v2/a/tags/list?last=%22%3E", 400, registry.ManifestInvalid},
		{"GET", "/v2/a/manifests/" + strings.Repeat("_", 128), 404, registry.ManifestUnknown},
		{"GET", "/v2/a/manifests/" + strings.Repeat("_", 129), 400, registry.ManifestInvalid},
		{"GET", "/v2/a/manifests/0.Z-z_9", 404, registry.ManifestUnknown},
		{"GET", "/v2/a/manifests/.a", 400, registry.ManifestInvalid},
		{"GET", "/v2/a/manifests/-a", 400, registry.ManifestInvalid},
		{"GET", "/v2/a/manifests/a%2Bb", 400, registry.ManifestInvalid},
		{"GET", "/v2/a/manifests/%C3%A4", 400, registry.ManifestInvalid},
		{"DELETE", "/v2/a/tags/list", 405, registry.Unsupported},
		{"GET", "/v2/a/referrers/latest", 400, registry.DigestInvalid},
		{"GET", "/v2/a/referrers/" + d, 200, ""},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			t.Parallel()
			w := memory(t)
			w.ask(c.method, c.path, "").want(c.status, c.code)
		})
	}
}

func TestUnknownMethodIsToldTheKnownOnes(t *testing.T) {
	t.Parallel()
	memory(t).ask(http.MethodPatch, "/v2/a/manifests/1", "").want(http.StatusMethodNotAllowed, registry.Unsupported).header("Allow", "GET, HEAD, PUT, DELETE")
}
