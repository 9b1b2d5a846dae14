package push_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/push"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// built is what BuildKit pushes: an index of two images and an attestation of each.
func built(t testing.TB, s *pipelinetest.Store) (index ocispec.Descriptor, images []ocispec.Descriptor) {
	t.Helper()
	var all []ocispec.Descriptor
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		img := s.Image(t, pipelinetest.Image{Platform: platform, Compression: pipeline.Gzip, Layers: [][]byte{plainLayer(t, platform+"/x", 200_000)}})
		images = append(images, img)
		all = append(all, img, s.Attestation(t, img.Digest))
	}
	return s.Index(t, all...), images
}

// Y12, D82: indexes go image by image, with attestations by policy; a layer goes once.
func TestIndexWithAttestations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		filters, policy string
		entries         int
	}{
		"as it is":         {"", "", 4},
		"as it is, kept":   {"", "keep", 4},
		"as it is, none":   {"", "none", 2},
		"changed, dropped": {normalize, "drop", 2},
		"changed, kept":    {normalize, "keep", 4},
		"changed, none":    {normalize, "none", 2},
		"one platform":     {"platforms:only=linux/arm64", "none", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var filters []string
			if c.filters != "" {
				filters = []string{c.filters}
			}
			w := start(t, nil, func(w *world) {
				w.cfg.Rules = newRules(t, rules.Spec{Filters: filters, Attestations: c.policy})
			})
			s := pipelinetest.NewStore()
			index, images := built(t, s)
			a, _ := w.pushImage("team/app", "1", s, index)
			stored := w.must(a, index.Digest)
			desc, _ := w.kept("team/app", "1")
			if desc.Digest != stored {
				t.Errorf("the tag leads to %s, not %s", desc.Digest, stored)
			}
			b := w.keeper.Backend()
			_, raw, err := b.Manifests.Get(t.Context(), "team/app", registry.Ref{Tag: "1"})
			if err != nil {
				t.Fatal(err)
			}
			if c.entries == 0 { // one image in the place of the index
				if desc.Digest != images[1].Digest {
					t.Errorf("kept is %s, want the image for arm64", desc.Digest)
				}
				return
			}
			entries := read[ocispec.Index](t, raw).Manifests
			if len(entries) != c.entries {
				t.Errorf("%d entries, want %d", len(entries), c.entries)
			}
			kept := map[digest.Digest]bool{}
			for _, e := range entries {
				kept[e.Digest] = true
			}
			for _, e := range entries {
				if of, ok := pipeline.AttestationOf(e); ok && !kept[of] {
					t.Errorf("an attestation of %s, which is not there", of)
				}
			}
			for _, entry := range read[ocispec.Index](t, s.Bytes(index.Digest)).Manifests {
				if a := w.ask("HEAD", "/v2/team/app/manifests/"+entry.Digest.String(), nil); a.status != http.StatusOK {
					t.Errorf("%s, which was pushed, is answered with %d", entry.Digest, a.status)
				}
				_, isAttestation := pipeline.AttestationOf(entry)
				if _, err := b.Manifests.Stat(t.Context(), "team/app", registry.Ref{Digest: entry.Digest}); isAttestation && c.policy == "none" && err == nil {
					t.Errorf("an attestation is kept, against the policy")
				}
			}
			for _, told := range w.told() {
				if len(told.Tags) > 0 && told.Out > 1<<16 {
					t.Errorf("layers went again with the index: %+v", told)
				}
			}
		})
	}
}

// An image by its digest alone is kept when it is acknowledged.
func TestImageByDigestIsKept(t *testing.T) {
	t.Parallel()
	w, s := start(t, []string{normalize}, nil), pipelinetest.NewStore()
	img := image(t, s, "a")
	a, _ := w.pushImage("team/app", img.Digest.String(), s, img)
	stored := w.must(a, img.Digest)
	if _, err := w.keeper.Backend().Manifests.Stat(t.Context(), "team/app", registry.Ref{Digest: stored}); err != nil || stored == "" {
		t.Errorf("%s: %v", stored, err)
	}
}

// A platform that a rule leaves out is refused by a tag, and not sent on.
func TestPlatformThatARuleLeavesOut(t *testing.T) {
	t.Parallel()
	w, s := start(t, []string{"platforms:only=linux/arm64"}, nil), pipelinetest.NewStore()
	img := image(t, s, "a")
	a, _ := w.pushImage("team/app", "1", s, img)
	if code, _ := a.code(); a.status != http.StatusForbidden || code != registry.Denied {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Referrers are carried; they speak of the image as it is kept, in a new process too.
func TestReferrersFollowTheirImage(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{"as it is": nil, "changed": {normalize}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, filters, func(w *world) { w.cfg.Cache, w.cfg.Notes = newCache(), &notes{known: map[string][]byte{}} })
			s := pipelinetest.NewStore()
			img := image(t, s, "a")
			a, _ := w.pushImage("team/app", "1", s, img)
			stored := w.must(a, img.Digest)
			w.later()
			report := s.Referrer(t, img, "an SBOM")
			a, _ = w.pushImage("team/app", report.Digest.String(), s, report)
			kept := w.must(a, report.Digest)
			if a.header.Get("OCI-Subject") != img.Digest.String() {
				t.Errorf("OCI-Subject is %q", a.header.Get("OCI-Subject"))
			}
			list, err := w.keeper.Backend().Referrers.List(t.Context(), "team/app", stored)
			if err != nil || len(list) != 1 || list[0].Digest != kept {
				t.Errorf("the image as it is kept is spoken of by %v, %v; want %s", list, err, kept)
			}
			if unchanged := filters == nil; (kept == report.Digest) != unchanged {
				t.Errorf("kept as %s, came as %s", kept, report.Digest)
			}
			for _, subject := range []digest.Digest{img.Digest, stored} {
				a := w.ask("GET", "/v2/team/app/referrers/"+subject.String(), nil)
				if n := len(read[ocispec.Index](t, []byte(a.body)).Manifests); a.status != 200 || n != 1 {
					t.Errorf("referrers of %s: %d, %d of them", subject, a.status, n)
				}
			}
		})
	}
}

// Artifacts go as they are, whatever their bytes look like.
func TestArtifactsAreNotFiltered(t *testing.T) {
	t.Parallel()
	w, s := start(t, []string{normalize}, nil), pipelinetest.NewStore()
	chart := s.Put("application/vnd.cncf.helm.chart.content.v1.tar+gzip", pipelinetest.Compress(t, pipeline.Gzip, plainLayer(t, "Chart.yaml", 5000)))
	text := s.Put("text/plain", []byte("hello"))
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/vnd.cncf.helm.config.v1+json",
		Config: s.Put("application/vnd.cncf.helm.config.v1+json", []byte("{}")), Layers: []ocispec.Descriptor{chart, text},
	}
	m.SchemaVersion = 2
	desc := s.PutJSON(t, m.MediaType, m)
	a, _ := w.pushImage("charts/app", "1", s, desc)
	if stored := w.must(a, desc.Digest); stored != desc.Digest {
		t.Errorf("kept as %s", stored)
	}
	_, kept := w.kept("charts/app", "1")
	if len(kept.Layers) != 2 || kept.Layers[0].Digest != chart.Digest {
		t.Errorf("%+v", kept)
	}
}

// What a rule denies is told in one sentence, and nothing of it is kept.
func TestDenied(t *testing.T) {
	t.Parallel()
	w := start(t, nil, func(w *world) {
		w.cfg.Rules = newRules(t, rules.Spec{}, rules.Spec{Match: "prod/**", Filters: []string{"deny:pattern=**/id_rsa"}})
	})
	s := pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "root/.ssh/id_rsa", Body: "k"})}})
	layer := read[ocispec.Manifest](t, s.Bytes(img.Digest)).Layers[0].Digest
	a, _ := w.pushImage("prod/team/app", "1", s, img)
	code, message := a.code()
	if a.status != http.StatusForbidden || code != registry.Denied || message != "deny refuses the layer: root/.ssh/id_rsa matches pattern=**/id_rsa" {
		t.Errorf("%d %s", a.status, a.body)
	}
	b := w.keeper.Backend()
	if _, err := b.Manifests.Stat(t.Context(), "prod/team/app", registry.Ref{Tag: "1"}); err == nil {
		t.Error("it is kept")
	}
	if _, err := b.Blobs.Stat(t.Context(), "prod/team/app", layer); err == nil {
		t.Error("its layer is kept")
	}
	a, _ = w.pushImage("test/app", "1", s, img)
	w.must(a, img.Digest)
}

// Y31: filters that only look see every layer of every image once.
func TestFiltersThatLook(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/layers.jsonl"
	w := start(t, []string{"inspect:file=" + file}, func(w *world) { w.cfg.Cache = newCache() })
	s := pipelinetest.NewStore()
	base := plainLayer(t, "base", 100_000)
	for i, name := range []string{"a", "b"} {
		img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{base, plainLayer(t, name, 900_000)}})
		a, _ := w.pushImage("team/app", name, s, img)
		w.must(a, img.Digest)
		lines := bytes.Split(bytes.TrimSpace(readFile(t, file)), []byte("\n"))
		if len(lines) != i+1 || !strings.Contains(string(lines[i]), "team/app:"+name) || bytes.Count(lines[i], []byte("sha256:")) < 2 {
			t.Errorf("%d lines: %s", len(lines), lines[len(lines)-1])
		}
	}
}

// A blob of another repository is mounted: its bytes in staging, or what they became.
func TestMount(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{"as it is": nil, "changed": {normalize}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := start(t, filters, func(w *world) { w.cfg.Cache = newCache() }), pipelinetest.NewStore()
			img := image(t, s, "a")
			layers := read[ocispec.Manifest](t, s.Bytes(img.Digest)).Layers
			mount := func(repository, from string) int {
				return w.ask("POST", "/v2/"+repository+"/blobs/uploads/?mount="+layers[1].Digest.String()+"&from="+from, nil).status
			}
			if got := mount("b", "a"); got != http.StatusAccepted {
				t.Errorf("before: %d", got)
			}
			a, _ := w.pushImage("a", "1", s, img)
			stored := w.must(a, img.Digest)
			for _, later := range []bool{false, true} {
				to := "b"
				if later {
					to = "c"
					w.later()
				}
				if got := mount(to, "nowhere"); got != http.StatusAccepted {
					t.Errorf("from nowhere: %d", got)
				}
				if got := mount(to, "a"); got != http.StatusCreated {
					t.Errorf("later %t: %d", later, got)
				}
				a, sent := w.pushImage(to, "1", s, img)
				if got := w.must(a, img.Digest); got != stored || sent != 2 {
					t.Errorf("later %t: kept as %s, want %s; %d blobs were sent", later, got, stored, sent)
				}
				w.kept(to, "1")
			}
		})
	}
}

// Y17: an image whose base is one that was filtered earlier, and pulled, keeps it; its
// base need not be sent.
func TestImageOnAFilteredBase(t *testing.T) {
	t.Parallel()
	w, s := start(t, []string{normalize}, func(w *world) { w.cfg.Cache = newCache() }), pipelinetest.NewStore()
	img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{plainLayer(t, "base", 300_000)}})
	a, _ := w.pushImage("team/app", "1", s, img)
	w.must(a, img.Digest)
	w.later()
	_, base := w.kept("team/app", "1")
	rc, err := w.keeper.Backend().Blobs.Open(t.Context(), "team/app", base.Layers[0].Digest, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	child := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{gunzip(t, rc), plainLayer(t, "own", 1000)}})
	m := read[ocispec.Manifest](t, s.Bytes(child.Digest))
	m.Layers[0].Digest, m.Layers[0].Size = base.Layers[0].Digest, base.Layers[0].Size
	desc := s.PutJSON(t, m.MediaType, m)
	for _, d := range []digest.Digest{m.Config.Digest, m.Layers[1].Digest} {
		w.blob("team/app", s.Bytes(d))
	}
	w.must(w.manifest("team/app", "2", s, desc), desc.Digest)
	_, kept := w.kept("team/app", "2")
	if kept.Layers[0].Digest != base.Layers[0].Digest {
		t.Errorf("the base became another one: %s, want %s", kept.Layers[0].Digest, base.Layers[0].Digest)
	}
}

var _ push.Notes = (*notes)(nil)

// A tar in an artifact, or in an index, is judged whatever its type says.
func TestDeniedInArtifacts(t *testing.T) {
	t.Parallel()
	w, s := start(t, []string{"deny:pattern=**/id_rsa"}, nil), pipelinetest.NewStore()
	bad := pipelinetest.Compress(t, pipeline.Gzip, pipelinetest.Tar(t, pipelinetest.File{Name: "root/.ssh/id_rsa", Body: "k"}))
	good := s.Put("application/octet-stream", []byte("no tar"))
	for _, mediaType := range []string{"application/vnd.example", "application/vnd.in-toto+json", ocispec.MediaTypeImageLayerGzip} {
		blob := s.Put(mediaType, bad)
		m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: s.Put("application/vnd.example.config", []byte("{}")), Layers: []ocispec.Descriptor{good, blob}}
		m.SchemaVersion = 2
		desc := s.PutJSON(t, m.MediaType, m)
		a, _ := w.pushImage("team/app", "1", s, desc)
		if code, _ := a.code(); a.status != http.StatusForbidden || code != registry.Denied {
			t.Errorf("artifact of %s: %d %s", mediaType, a.status, a.body)
		}
		index := s.Index(t, blob)
		a = w.manifest("team/app", "2", s, index)
		if code, _ := a.code(); a.status != http.StatusForbidden || code != registry.Denied {
			t.Errorf("index of %s: %d %s", mediaType, a.status, a.body)
		}
	}
}

// The cache of a BuildKit, which lists blobs in an index, goes as it is. No manifest can
// pass for a blob so, and slip by the filters.
func TestIndexOfBlobs(t *testing.T) {
	t.Parallel()
	w, s := start(t, []string{normalize}, nil), pipelinetest.NewStore()
	layer := s.Put(ocispec.MediaTypeImageLayerGzip, pipelinetest.Compress(t, pipeline.Gzip, plainLayer(t, "x", 1000)))
	config := s.Put("application/vnd.buildkit.cacheconfig.v0", []byte(`{"layers":[]}`))
	index := s.Index(t, layer, config)
	for _, d := range []ocispec.Descriptor{layer, config} {
		w.blob("cache", s.Bytes(d.Digest))
	}
	if stored := w.must(w.manifest("cache", "1", s, index), index.Digest); stored != index.Digest {
		t.Errorf("kept as %s", stored)
	}
	for _, d := range []ocispec.Descriptor{layer, config} {
		if _, err := w.keeper.Backend().Blobs.Stat(t.Context(), "cache", d.Digest); err != nil {
			t.Error(err)
		}
	}
	img := image(t, s, "a")
	w.pushImage("cache", img.Digest.String(), s, img)
	disguised := img
	disguised.MediaType = "application/vnd.example"
	index = s.Index(t, disguised)
	w.manifest("cache", "2", s, index)
	if _, err := w.keeper.Backend().Manifests.Stat(t.Context(), "cache", registry.Ref{Digest: img.Digest}); err == nil {
		t.Error("an image is kept that no filter has seen")
	}
}
