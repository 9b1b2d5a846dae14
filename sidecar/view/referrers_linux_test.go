package view_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	signatureType = "application/vnd.example.signature+json"
	sbomType      = "application/spdx+json"
)

// about puts an artifact with a subject into a namespace.
func (e engine) about(namespace, artifactType string, subject ocispec.Descriptor) ocispec.Descriptor {
	e.t.Helper()
	blob := e.blob(namespace, "application/octet-stream", []byte(artifactType+" of "+subject.Digest.String()))
	d := e.document(namespace, ocispec.MediaTypeImageManifest, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "artifactType": artifactType, "annotations": map[string]string{"org.example.kind": artifactType},
		"config": e.blob(namespace, ocispec.MediaTypeEmptyJSON, []byte("{}")), "layers": []ocispec.Descriptor{blob}, "subject": subject,
	})
	d.ArtifactType = artifactType
	return d
}

// keeps has containerd keep something with what it refers to, as it does for what the
// referrers API of a registry told.
func (e engine) keeps(subject, referrer digest.Digest) {
	e.t.Helper()
	e.note(map[string]string{"containerd.io/gc.ref.content.referrer.sha256." + referrer.Encoded()[:12]: referrer.String()},
		"v1", "moby", "content", "blob", subject.String(), "labels")
}

// refers complains unless these are the referrers, and the types with which they are
// told are right.
func refers(t *testing.T, s *httptest.Server, path string, want ...ocispec.Descriptor) {
	t.Helper()
	got, body := ask(t, s, http.MethodGet, path)
	var index ocispec.Index
	if err := json.Unmarshal([]byte(body), &index); err != nil || got.StatusCode != http.StatusOK || index.Manifests == nil || got.Header.Get("Content-Type") != ocispec.MediaTypeImageIndex {
		t.Errorf("%s is %d %q, %v", path, got.StatusCode, body, err)
		return
	}
	slices.SortFunc(want, func(a, b ocispec.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	for i, d := range index.Manifests {
		if len(want) != len(index.Manifests) || d.Digest != want[i].Digest || d.Size != want[i].Size || d.MediaType != want[i].MediaType ||
			d.ArtifactType != want[i].ArtifactType || d.Annotations["org.example.kind"] != want[i].ArtifactType {
			t.Errorf("%s is %s, want %v", path, body, want)
			return
		}
	}
	if len(want) != len(index.Manifests) {
		t.Errorf("%s is %s, want %v", path, body, want)
	}
}

// What the engine holds with an image, because it refers to it, is listed and can be
// pulled: by what containerd keeps with it, by a name of the repository, in an index.
func TestReferrersAreListed(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	app := e.build("moby", "docker.io/library/app:1", "app")
	kept := e.about("moby", signatureType, app.manifest)
	e.keeps(app.manifest.Digest, kept.Digest)
	chained := e.about("moby", signatureType, kept) // a signature of the signature
	e.keeps(kept.Digest, chained.Digest)
	named := e.about("moby", sbomType, app.manifest)
	e.name("moby", "docker.io/library/app:sbom", named)
	listed := e.about("moby", sbomType, app.index)
	e.name("moby", "docker.io/library/app:sha256-"+app.index.Digest.Encoded(), e.document("moby", ocispec.MediaTypeImageIndex,
		ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{listed}}))
	s := serve(t, []string{"moby"}, e)
	of := func(d ocispec.Descriptor) string { return "/v2/app/referrers/" + d.Digest.String() }
	refers(t, s, of(app.manifest), kept, named)
	refers(t, s, of(app.index), listed)
	refers(t, s, of(kept), chained)
	refers(t, s, of(app.manifest)+"?ns=docker.io", kept, named)
	refers(t, s, of(app.manifest)+"?artifactType="+url.QueryEscape(sbomType), named)
	refers(t, s, of(app.manifest)+"?artifactType=application/x-none")
	if got, _ := ask(t, s, http.MethodGet, of(app.manifest)+"?artifactType=x"); got.Header.Get("OCI-Filters-Applied") != "artifactType" {
		t.Errorf("the filter is not told: %v", got.Header)
	}
	for _, d := range []ocispec.Descriptor{kept, chained, named, listed} {
		if got, body := ask(t, s, http.MethodGet, "/v2/app/manifests/"+d.Digest.String()); digest.FromString(body) != d.Digest || got.Header.Get("Content-Type") != d.MediaType {
			t.Errorf("a referrer is %d %q", got.StatusCode, body)
			continue
		}
		blob := digest.FromString(d.ArtifactType + " of " + app.manifest.Digest.String())
		if d.Digest == kept.Digest || d.Digest == named.Digest {
			if got, _ := ask(t, s, http.MethodGet, "/v2/app/blobs/"+blob.String()); got.StatusCode != http.StatusOK {
				t.Errorf("what it consists of is %d", got.StatusCode)
			}
		}
	}
}

// Nothing refers to most images: attestations belong to their index, and what is in
// another repository or namespace is not seen in this one.
func TestReferrersAreThoseOfTheirRepository(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	app := e.build("moby", "docker.io/library/app:1", "app")
	attestation := e.document("moby", ocispec.MediaTypeImageManifest, ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: app.config})
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": app.manifest.Digest.String()}
	e.name("moby", "docker.io/library/app:2", e.document("moby", ocispec.MediaTypeImageIndex,
		ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{app.manifest, attestation}}))
	elsewhere := e.about("moby", sbomType, app.manifest)
	e.name("moby", "docker.io/library/other:sbom", elsewhere)
	e.about("moby", signatureType, app.manifest) // and nobody keeps it
	hidden := e.about("k8s.io", "application/x-hidden", app.manifest)
	e.keeps(app.manifest.Digest, hidden.Digest)
	e.keeps(app.manifest.Digest, app.absent.Digest)
	e.keeps(app.manifest.Digest, app.layer.Digest) // no manifest
	lost := e.about("moby", "application/x-lost", app.manifest)
	e.keeps(app.manifest.Digest, lost.Digest)
	must(t, os.Remove(e.file(lost.Digest)))
	s := serve(t, []string{"moby"}, e)
	refers(t, s, "/v2/app/referrers/"+app.manifest.Digest.String())
	refers(t, s, "/v2/app/referrers/"+digest.FromString("nothing").String())
	refers(t, s, "/v2/none/referrers/"+app.manifest.Digest.String())
	refers(t, s, "/v2/other/referrers/"+app.manifest.Digest.String(), elsewhere)
	if got, _ := ask(t, s, http.MethodGet, "/v2/app/referrers/latest"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("what is no digest is %d", got.StatusCode)
	}
	if got, _ := ask(t, s, http.MethodGet, "/v2/app/manifests/"+hidden.Digest.String()); got.StatusCode != http.StatusNotFound {
		t.Errorf("a referrer in another namespace is %d", got.StatusCode)
	}
	if got, _ := ask(t, s, http.MethodGet, "/v2/app/manifests/1"); got.StatusCode != http.StatusOK {
		t.Errorf("an image of which a referrer is lost is %d", got.StatusCode)
	}
}
