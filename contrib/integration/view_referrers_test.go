//go:build integration && linux

package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// What containerd has of what refers to an image is listed by the view, and can be had
// from it: under a name of the repository, and without one by the label with which
// containerd keeps it with the image (its client does so for WithReferrersProvider,
// which its tool does not offer).
func TestTheViewListsWhatContainerdKeepsWithAnImage(t *testing.T) {
	t.Parallel()
	pipelinetest.Env(t, "OCCYSTRAP_TEST_CONTAINERD")
	e := engines[slices.IndexFunc(engines, func(e engine) bool { return e.name == "docker29" })]
	from := push(t, busybox(t))
	sbom := put(t, from, "application/spdx+json", `{"spdxVersion":"SPDX-2.3"}`)
	repo := from[:strings.LastIndexByte(from, ':')]
	for _, ref := range []string{from, repo + "@" + sbom} {
		ctr(t, "content", "fetch", "--plain-http", ref)
		t.Cleanup(func() { ctr(t, "images", "rm", "--sync", ref) })
	}
	host, path, _ := strings.Cut(repo, "/")
	base, ns := "http://"+look(t, e, ctrNamespace(t))+"/v2/"+path, "?ns="+host
	subject := ctrDigest(t, from)
	listed := func(how string) {
		t.Helper()
		var list ocispec.Index
		must(t, json.Unmarshal([]byte(answered(t, base+"/referrers/"+subject+ns)), &list))
		if len(list.Manifests) != 1 || list.Manifests[0].Digest.String() != sbom || list.Manifests[0].ArtifactType != "application/spdx+json" {
			t.Errorf("%s the view lists %v, want %s", how, list.Manifests, sbom)
		}
		if raw := answered(t, base+"/manifests/"+sbom+ns); digest.FromString(raw).String() != sbom {
			t.Errorf("%s the SBOM is %s", how, raw)
		}
	}
	listed("by its name")
	ctr(t, "content", "label", subject, "containerd.io/gc.ref.content.referrer.sha256."+digest.Digest(sbom).Encoded()[:12]+"="+sbom)
	ctr(t, "images", "rm", "--sync", repo+"@"+sbom)
	listed("by containerd's label")
}

// answered is what a registry answers to a GET.
func answered(t testing.TB, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	a, err := http.DefaultClient.Do(r)
	must(t, err)
	defer a.Body.Close()
	raw, err := io.ReadAll(a.Body)
	must(t, err)
	if a.StatusCode != http.StatusOK {
		t.Fatalf("%s is %s: %s", url, a.Status, raw)
	}
	return string(raw)
}
