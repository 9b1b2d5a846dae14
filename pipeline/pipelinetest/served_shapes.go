package pipelinetest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A shape is what the conformance program pushes: blobs, and manifests of which
// each may list those before it. The last one gets a tag.
type shape struct {
	*backend
	a         digest.Algorithm
	blobs     []ocispec.Descriptor // with Data
	manifests []ocispec.Descriptor // with Data
	subject   digest.Digest        // of the last
}

func (s *shape) blob(mediaType, body string) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: s.a.FromString(body), Size: int64(len(body)), Data: []byte(body)}
	if !slices.ContainsFunc(s.blobs, func(b ocispec.Descriptor) bool { return b.Digest == d.Digest }) {
		s.blobs = append(s.blobs, d)
	}
	d.Data = nil
	return d
}

func (s *shape) manifest(mediaType string, v any) ocispec.Descriptor {
	raw, err := json.Marshal(v)
	s.must(err)
	d := ocispec.Descriptor{MediaType: mediaType, Digest: s.a.FromBytes(raw), Size: int64(len(raw)), Data: raw}
	s.manifests = append(s.manifests, d)
	d.Data = nil
	return d
}

func (s *shape) image(note string, edit func(*ocispec.Manifest)) ocispec.Descriptor {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: s.blob(ocispec.MediaTypeImageConfig, `{"note":"`+note+`"}`), Layers: []ocispec.Descriptor{s.blob(ocispec.MediaTypeImageLayer, note)},
	}
	if edit != nil {
		edit(&m)
	}
	return s.manifest(m.MediaType, m)
}

func (s *shape) index(edit func(*ocispec.Index), list ...ocispec.Descriptor) ocispec.Descriptor {
	idx := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: append([]ocispec.Descriptor{}, list...)}
	if edit != nil {
		edit(&idx)
	}
	return s.manifest(idx.MediaType, idx)
}

// about is an artifact that refers to a manifest.
func (s *shape) about(subject ocispec.Descriptor) func(*ocispec.Manifest) {
	s.subject = subject.Digest
	return func(m *ocispec.Manifest) {
		m.ArtifactType, m.Subject, m.Annotations = SBOMType, &subject, map[string]string{"org.example.kind": "sbom"}
		m.Config = s.blob(ocispec.MediaTypeEmptyJSON, "{}")
	}
}

const largeManifest = 4 << 20 // which registries must take (distribution-spec, "Pushing Manifests")

var shapes = map[string]func(*shape){
	"image": func(s *shape) { s.image("image", nil) },
	"no layers": func(s *shape) {
		s.image("none", func(m *ocispec.Manifest) { m.Layers = []ocispec.Descriptor{} })
	},
	"index":        func(s *shape) { s.index(nil, s.image("amd", nil), s.image("arm", nil)) },
	"nested index": func(s *shape) { s.index(nil, s.index(nil, s.image("deep", nil)), s.image("flat", nil)) },
	"empty index":  func(s *shape) { s.index(nil) },
	"artifact": func(s *shape) {
		s.image("artifact", func(m *ocispec.Manifest) { m.ArtifactType = SBOMType })
	},
	"subject":         func(s *shape) { s.image("about", s.about(s.image("subject", nil))) },
	"missing subject": func(s *shape) { s.image("about", s.about(ocispec.DescriptorEmptyJSON)) },
	"index with subject": func(s *shape) {
		subject := s.image("subject", nil)
		s.subject = subject.Digest
		s.index(func(idx *ocispec.Index) {
			idx.ArtifactType, idx.Subject, idx.Annotations = SBOMType, &subject, map[string]string{"org.example.kind": "sbom"}
		}, s.image("listed", nil))
	},
	"data": func(s *shape) {
		s.image("data", func(m *ocispec.Manifest) { m.Layers[0].Data = []byte("data") })
	},
	"foreign layer": func(s *shape) {
		s.image("foreign", func(m *ocispec.Manifest) {
			m.Layers = append(m.Layers, ocispec.Descriptor{
				MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar", Digest: s.a.FromString("elsewhere"), Size: 9, URLs: []string{"https://registry.example/layer"},
			})
		})
	},
	"unknown fields": func(s *shape) {
		config, layer := s.blob(ocispec.MediaTypeImageConfig, `{"org.example":1}`), s.blob("application/x-own", "own")
		s.manifest(ocispec.MediaTypeImageManifest, map[string]any{
			"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "org.example": map[string]int{"x": 1}, "config": config, "layers": []ocispec.Descriptor{layer},
		})
	},
	"large": func(s *shape) {
		s.image("large", func(m *ocispec.Manifest) {
			m.Annotations = map[string]string{"org.example.long": strings.Repeat("x", largeManifest-2048)}
		})
	},
}

// servesShapes pushes all kinds of manifests, reads them and deletes them again.
func (b *backend) servesShapes() {
	s := b.served()
	for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		for name, fill := range shapes {
			if name == "large" && a != digest.SHA256 {
				continue // once is enough: it is slow
			}
			sh := &shape{backend: b, a: a}
			fill(sh)
			tag := strings.ReplaceAll(name, " ", "-")
			for _, d := range sh.blobs {
				ways["post and put"](s, d.Data, d.Digest, http.StatusCreated)
			}
			last := sh.manifests[len(sh.manifests)-1]
			for _, d := range sh.manifests[:len(sh.manifests)-1] {
				s.put(d, d.Digest.String(), "")
			}
			s.put(last, last.Digest.String()+"?tag="+tag, sh.subject)
			s.listed(sh, last)
			s.read(sh, tag)
			s.remove(sh, tag)
		}
	}
}

// put puts a manifest under a name; of one that refers to a subject the answer
// must say so.
func (s served) put(d ocispec.Descriptor, name string, subject digest.Digest) {
	s.t.Helper()
	r := s.ask(http.StatusCreated, http.MethodPut, "manifests/"+name, d.Data, "Content-Type", d.MediaType)
	if got := r.Header().Get("Docker-Content-Digest"); got != d.Digest.String() {
		s.t.Errorf("%s was stored as %s", d.Digest, got)
	}
	if got := r.Header().Get("OCI-Subject"); subject != "" && got != subject.String() && s.Referrers != nil {
		s.t.Errorf("OCI-Subject is %q, want %s", got, subject)
	}
}

// listed complains unless a referrer is listed, and found by its type.
func (s served) listed(sh *shape, d ocispec.Descriptor) {
	s.t.Helper()
	if sh.subject == "" || s.Referrers == nil {
		return
	}
	for _, filter := range []string{"", "?artifactType=" + strings.ReplaceAll(SBOMType, "+", "%2B")} {
		got := s.index(s.ask(http.StatusOK, http.MethodGet, "referrers/"+sh.subject.String()+filter, nil)).Manifests
		if len(got) != 1 || got[0].Digest != d.Digest || got[0].Size != d.Size || got[0].ArtifactType != SBOMType || got[0].Annotations["org.example.kind"] != "sbom" {
			s.t.Errorf("referrers%s are %v", filter, got)
		}
	}
	if got := s.index(s.ask(http.StatusOK, http.MethodGet, "referrers/"+sh.subject.String()+"?artifactType=application/x-other", nil)).Manifests; len(got) > 0 {
		s.t.Errorf("referrers of another type are %v", got)
	}
}

// read complains unless all that was pushed comes back.
func (s served) read(sh *shape, tag string) {
	s.t.Helper()
	if list := s.ask(http.StatusOK, http.MethodGet, "tags/list", nil).Body.String(); !strings.Contains(list, `"`+tag+`"`) {
		s.t.Errorf("the tag is not in %s", list)
	}
	for i, d := range sh.manifests {
		names := []string{d.Digest.String()}
		if i == len(sh.manifests)-1 {
			names = append(names, tag)
		}
		for _, name := range names {
			s.ask(http.StatusOK, http.MethodHead, "manifests/"+name, nil)
			r := s.ask(http.StatusOK, http.MethodGet, "manifests/"+name, nil)
			if r.Header().Get("Content-Type") != d.MediaType || !bytes.Equal(r.Body.Bytes(), d.Data) {
				s.t.Errorf("%s of %s came back otherwise, as %q", name, tag, r.Header().Get("Content-Type"))
			}
		}
	}
	for _, d := range sh.blobs {
		s.serves(d.Data, d.Digest)
	}
}

// remove deletes the tag, the manifests and the blobs; what was deleted is gone at
// once, and nothing else.
func (s served) remove(sh *shape, tag string) {
	s.t.Helper()
	s.ask(http.StatusAccepted, http.MethodDelete, "manifests/"+tag, nil)
	s.ask(http.StatusNotFound, http.MethodGet, "manifests/"+tag, nil)
	for _, d := range slices.Backward(sh.manifests) {
		name := "manifests/" + d.Digest.String()
		s.ask(http.StatusOK, http.MethodGet, name, nil)
		s.ask(http.StatusAccepted, http.MethodDelete, name, nil)
		s.ask(http.StatusNotFound, http.MethodHead, name, nil)
		s.ask(http.StatusNotFound, http.MethodDelete, name, nil)
	}
	if sh.subject != "" && s.Referrers != nil {
		if got := s.index(s.ask(http.StatusOK, http.MethodGet, "referrers/"+sh.subject.String(), nil)).Manifests; len(got) > 0 {
			s.t.Errorf("what was deleted still refers: %v", got)
		}
	}
	for _, d := range sh.blobs {
		// Who needs a blob no more may have removed it, too.
		if _, err := s.Blobs.Stat(s.ctx(), repoA, d.Digest); err == nil {
			s.ask(http.StatusAccepted, http.MethodDelete, "blobs/"+d.Digest.String(), nil)
		}
		s.gone(d.Digest)
	}
}
