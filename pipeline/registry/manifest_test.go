package registry_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
)

const (
	manifests = "/v2/team/app/manifests/"
	imageType = ocispec.MediaTypeImageManifest
	indexType = ocispec.MediaTypeImageIndex
)

func TestManifestComesBackAsItWent(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]digest.Algorithm{"by tag": digest.SHA256, "sha256": digest.SHA256, "sha512": digest.SHA512} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := memory(t)
			raw := strings.Replace(w.artifact(nil), "{", "{\n\t\"custom\": [1],", 1)
			d := a.FromString(raw)
			ref := d.String()
			if name == "by tag" {
				ref = "1.0"
			}
			w.put(ref, imageType+"; charset=utf-8", raw).want(201, "").header("Location", manifests+d.String()).header("Docker-Content-Digest", d.String())
			for _, by := range []string{ref, d.String()} {
				got := w.ask("GET", manifests+by, "").want(200, "").header("Content-Type", imageType).header("Docker-Content-Digest", d.String())
				if got.body != raw {
					t.Error("the bytes are others")
				}
				head := w.ask("HEAD", manifests+by, "").want(200, "").header("Content-Type", imageType).header("Content-Length", fmt.Sprint(len(raw)))
				if head.body != "" {
					t.Error("HEAD has a body")
				}
				w.ask("GET", manifests+by, "", "If-None-Match", head.Header.Get("ETag")).want(304, "")
			}
		})
	}
}

func TestManifestIsValidOrRefused(t *testing.T) {
	t.Parallel()
	docker := strings.NewReplacer(imageType, pipeline.MediaTypeDockerManifest)
	for name, c := range map[string]struct {
		mediaType string
		edit      func(raw string) string
		status    int
		code      registry.Code
	}{
		"OCI image":                        {imageType, nil, 201, ""},
		"type by the manifest alone":       {"", nil, 201, ""},
		"Docker image":                     {pipeline.MediaTypeDockerManifest, docker.Replace, 201, ""},
		"type by Content-Type alone":       {imageType, strings.NewReplacer(`"mediaType":"`+imageType+`",`, "").Replace, 201, ""},
		"no type at all":                   {"", strings.NewReplacer(`"mediaType":"`+imageType+`",`, "").Replace, 400, registry.ManifestInvalid},
		"other type in Content-Type":       {indexType, nil, 400, registry.ManifestInvalid},
		"unknown type":                     {"application/json", nil, 400, registry.ManifestInvalid},
		"no media type":                    {"a b", nil, 400, registry.ManifestInvalid},
		"not JSON":                         {imageType, func(string) string { return "no" }, 400, registry.ManifestInvalid},
		"empty":                            {imageType, func(string) string { return "" }, 400, registry.ManifestInvalid},
		"text behind it":                   {imageType, func(s string) string { return s + "{}" }, 400, registry.ManifestInvalid},
		"key twice":                        {imageType, func(s string) string { return strings.Replace(s, "{", `{"layers":[],`, 1) }, 400, registry.ManifestInvalid},
		"schema 1":                         {imageType, strings.NewReplacer(`"schemaVersion":2`, `"schemaVersion":1`).Replace, 400, registry.ManifestInvalid},
		"image and index (CVE-2021-41190)": {imageType, func(s string) string { return strings.Replace(s, "{", `{"manifests":[],`, 1) }, 400, registry.ManifestInvalid},
		"no config":                        {imageType, strings.NewReplacer(`"config"`, `"x"`).Replace, 400, registry.ManifestInvalid},
		"bad digest in it":                 {imageType, strings.NewReplacer(`"digest":"sha256:`, `"digest":"sha256:z`).Replace, 400, registry.ManifestInvalid},
		"negative size":                    {imageType, strings.NewReplacer(`"size":2`, `"size":-2`).Replace, 400, registry.ManifestInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := memory(t)
			raw := w.artifact(nil)
			if c.edit != nil {
				raw = c.edit(raw)
			}
			w.put("1", c.mediaType, raw).want(c.status, c.code)
			if c.status != 201 {
				w.ask("GET", manifests+"1", "").want(404, registry.ManifestUnknown)
			}
		})
	}
}

func TestManifestOfAnotherDigestIsRefused(t *testing.T) {
	t.Parallel()
	w := memory(t)
	d := digest.FromString("else").String()
	w.put(d, imageType, w.artifact(nil)).want(400, registry.DigestInvalid)
	w.ask("GET", manifests+d, "").want(404, registry.ManifestUnknown)
}

func TestManifestNeedsItsParts(t *testing.T) {
	t.Parallel()
	nowhere := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromString("nowhere"), Size: 7}
	foreign, undistributed, child := nowhere, nowhere, nowhere
	foreign.URLs = []string{"https://example.com/layer"}
	undistributed.MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar"
	child.MediaType = imageType
	layer := func(d ocispec.Descriptor) func(w world) (string, string) {
		return func(w world) (string, string) {
			return imageType, w.artifact(func(m *ocispec.Manifest) { m.Layers = append(m.Layers, d) })
		}
	}
	index := func(entry func(world) ocispec.Descriptor) func(w world) (string, string) {
		return func(w world) (string, string) {
			return indexType, encode(w.t, ocispec.Index{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: indexType, Manifests: []ocispec.Descriptor{entry(w)},
			})
		}
	}
	for name, c := range map[string]struct {
		manifest func(world) (string, string)
		status   int
	}{
		"layer that is not there":     {layer(nowhere), 400},
		"layer with URLs":             {layer(foreign), 201},
		"layer not to be distributed": {layer(undistributed), 201},
		"subject that is not there": {func(w world) (string, string) {
			return imageType, w.artifact(func(m *ocispec.Manifest) { m.Subject = &child })
		}, 201},
		"child that is not there": {index(func(world) ocispec.Descriptor { return child }), 400},
		"child that is there": {index(func(w world) ocispec.Descriptor {
			raw := w.artifact(nil)
			w.put("child", imageType, raw)
			return ocispec.Descriptor{MediaType: imageType, Digest: digest.FromString(raw), Size: int64(len(raw))}
		}), 201},
		"blob in an index, by BuildKit": {index(func(w world) ocispec.Descriptor { return w.push("team/app", "cache") }), 201},
		"blob as a manifest":            {index(func(w world) ocispec.Descriptor { d := w.push("team/app", "cache"); d.MediaType = imageType; return d }), 400},
		"layer of another repository":   {func(w world) (string, string) { return layer(w.push("other", "elsewhere"))(w) }, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := memory(t)
			mediaType, raw := c.manifest(w)
			code := registry.Code("")
			if c.status == 400 {
				code = registry.ManifestBlobUnknown
			}
			w.put("1", mediaType, raw).want(c.status, code)
			sparse := pipelinetest.NewRegistry().Backend()
			sparse.Sparse = true
			over(t, sparse).put("1", mediaType, raw).want(201, "")
		})
	}
}

func TestLargeManifestsHaveALimit(t *testing.T) {
	t.Parallel()
	w := memory(t)
	large := func(n int) string {
		return w.artifact(func(m *ocispec.Manifest) { m.Annotations = map[string]string{"large": strings.Repeat("a", n)} })
	}
	w.put("4MiB", imageType, large(4<<20)).want(201, "")
	over := large(9 << 20)
	w.put("9MiB", imageType, over).want(413, registry.ManifestInvalid)
	unknown := httptest.NewRequestWithContext(t.Context(), "PUT", manifests+"9MiB", strings.NewReader(over))
	unknown.ContentLength = -1
	w.send(unknown).want(413, registry.ManifestInvalid)
}

func TestTagsGoWithADigest(t *testing.T) {
	t.Parallel()
	w := memory(t)
	raw := w.artifact(nil)
	d := digest.SHA512.FromString(raw).String()
	a := w.put(d+"?tag=1&tag=1.2", imageType, raw).want(201, "")
	if got := a.Header.Values("OCI-Tag"); !slices.Equal(got, []string{"1", "1.2"}) {
		t.Errorf("OCI-Tag: %q", got)
	}
	w.ask("GET", manifests+"1.2", "").want(200, "").header("Docker-Content-Digest", d)
	w.put(d+"?tag=ok&tag=-no", imageType, raw).want(400, registry.ManifestInvalid)
	w.ask("GET", manifests+"ok", "").want(404, "")
	w.put(d+"?"+strings.Repeat("tag=t&", 101), imageType, raw).want(414, registry.ManifestInvalid)
}

func TestDeletedManifestTakesItsTags(t *testing.T) {
	t.Parallel()
	w := memory(t)
	raw := w.artifact(nil)
	w.put("1", imageType, raw).want(201, "")
	w.put("2", imageType, raw).want(201, "")
	w.ask("DELETE", manifests+"1", "").want(202, "")
	w.ask("GET", manifests+"1", "").want(404, registry.ManifestUnknown)
	w.ask("GET", manifests+"2", "").want(200, "")
	w.ask("DELETE", manifests+digest.FromString(raw).String(), "").want(202, "")
	w.ask("GET", manifests+"2", "").want(404, registry.ManifestUnknown)
}
