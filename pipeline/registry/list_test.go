package registry_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// pages follows Link from one answer to the next.
func (w world) pages(at string) (out []answer) {
	w.t.Helper()
	for at != "" {
		a := w.ask("GET", at, "").want(200, "")
		out = append(out, a)
		link, _, _ := strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">; rel=\"next\"")
		at = link
	}
	return out
}

func TestTagsAreListedInPages(t *testing.T) {
	t.Parallel()
	w := memory(t)
	raw := w.artifact(nil)
	w.put(digest.FromString(raw).String()+"?tag=b&tag=a&tag=C&tag=1&tag=_", imageType, raw).want(201, "")
	for query, want := range map[string][]string{
		"":                        {"1,C,_,a,b"},
		"?n=0":                    {""},
		"?n=2":                    {"1,C", "_,a", "b"},
		"?n=5":                    {"1,C,_,a,b"},
		"?last=C":                 {"_,a,b"},
		"?n=1&last=_":             {"a", "b"},
		"?last=b":                 {""},
		"?n=99999999999999999999": {"1,C,_,a,b"},
	} {
		var got []string
		for _, a := range w.pages("/v2/team/app/tags/list" + query) {
			var list struct {
				Name string
				Tags []string
			}
			if err := json.Unmarshal([]byte(a.body), &list); err != nil || list.Name != "team/app" || list.Tags == nil {
				t.Errorf("%s: %s: %v", query, a.body, err)
			}
			got = append(got, strings.Join(list.Tags, ","))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s lists %q, want %q", query, got, want)
		}
	}
}

// referrers lists what speaks of a manifest, over all pages.
func (w world) referrers(subject digest.Digest, query string) (all []ocispec.Descriptor, pages int) {
	w.t.Helper()
	answers := w.pages("/v2/team/app/referrers/" + subject.String() + query)
	for _, a := range answers {
		a.header("Content-Type", indexType)
		var index ocispec.Index
		if err := json.Unmarshal([]byte(a.body), &index); err != nil || index.MediaType != indexType || index.SchemaVersion != 2 || index.Manifests == nil {
			w.t.Errorf("%.200s: %v", a.body, err)
		}
		all = append(all, index.Manifests...)
	}
	return all, len(answers)
}

func TestReferrersTellWhatTheyAre(t *testing.T) {
	t.Parallel()
	w := memory(t)
	subject := ocispec.Descriptor{MediaType: imageType, Digest: digest.FromString("not yet there"), Size: 13}
	if got, _ := w.referrers(subject.Digest, ""); len(got) > 0 {
		t.Errorf("nobody speaks of it, but %v", got)
	}
	for _, kind := range []string{"application/x-sbom", ""} {
		raw := w.artifact(func(m *ocispec.Manifest) {
			m.Subject, m.ArtifactType, m.Annotations = &subject, kind, map[string]string{"kind": kind}
		})
		w.put(digest.FromString(raw).String(), imageType, raw).want(201, "").header("OCI-Subject", subject.Digest.String())
	}
	all, _ := w.referrers(subject.Digest, "")
	var kinds []string
	for _, d := range all {
		kinds = append(kinds, d.ArtifactType+" of "+d.Annotations["kind"])
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []string{"application/x-config of ", "application/x-sbom of application/x-sbom"}) {
		t.Errorf("kinds are %q", kinds)
	}
	query := "?artifactType=" + url.QueryEscape("application/x-sbom")
	w.ask("GET", "/v2/team/app/referrers/"+subject.Digest.String()+query, "").want(200, "").header("OCI-Filters-Applied", "artifactType")
	if some, _ := w.referrers(subject.Digest, query); len(some) != 1 || some[0].ArtifactType != "application/x-sbom" {
		t.Errorf("filtered: %v", some)
	}
}

func TestManyReferrersComeInPages(t *testing.T) {
	t.Parallel()
	w := memory(t)
	subject := ocispec.Descriptor{MediaType: imageType, Digest: digest.FromString("subject"), Size: 7}
	for _, note := range []string{"a", "b", "c", "d", "e"} {
		raw := w.artifact(func(m *ocispec.Manifest) {
			m.Subject, m.Annotations = &subject, map[string]string{"note": strings.Repeat(note, 3<<19)}
		})
		w.put(digest.FromString(raw).String(), imageType, raw).want(201, "")
	}
	all, pages := w.referrers(subject.Digest, "?artifactType=application/x-config")
	if len(all) != 5 || pages != 3 {
		t.Errorf("%d referrers in %d pages; want 5 in 3", len(all), pages)
	}
}

func TestBackendWithoutReferrersHasNoAPIForThem(t *testing.T) {
	t.Parallel()
	b := memoryBackend()
	b.Referrers = nil
	w := over(t, b)
	subject := ocispec.Descriptor{MediaType: imageType, Digest: digest.FromString("subject"), Size: 7}
	w.put("1", imageType, w.artifact(func(m *ocispec.Manifest) { m.Subject = &subject })).want(201, "").header("OCI-Subject", "")
	w.ask("GET", "/v2/team/app/referrers/"+subject.Digest.String(), "").want(404, registry.Unsupported)
}
