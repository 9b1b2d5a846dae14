package pipelinetest

import (
	"encoding/base64"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// SBOMType is the artifact type of what Store.Referrer makes.
const SBOMType = "application/spdx+json"

// Referrer stores an artifact that refers to a manifest, as oras and cosign's
// newer form make them.
func (s *Store) Referrer(t testing.TB, subject ocispec.Descriptor, body string) ocispec.Descriptor {
	t.Helper()
	return s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: SBOMType,
		Config: s.Put(ocispec.MediaTypeEmptyJSON, []byte("{}")), Layers: []ocispec.Descriptor{s.Put(SBOMType, []byte(body))},
		Subject:     &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: map[string]string{"org.example.kind": "sbom"},
	})
}

// Signature stores what cosign's tag for signatures leads to: its payload says
// that it signs claimed.
func (s *Store) Signature(t testing.TB, claimed digest.Digest) ocispec.Descriptor {
	t.Helper()
	payload := s.Put("application/vnd.dev.cosign.simplesigning.v1+json",
		[]byte(`{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":"`+claimed.String()+`"},"type":"cosign container image signature"},"optional":null}`))
	payload.Annotations = map[string]string{"dev.cosignproject.cosign/signature": "c2lnbmVk"}
	return s.cosign(t, payload)
}

// CosignAttestation stores what cosign's tag for attestations leads to.
func (s *Store) CosignAttestation(t testing.TB, claimed digest.Digest) ocispec.Descriptor {
	t.Helper()
	statement := `{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"name":"x","digest":{"` + claimed.Algorithm().String() + `":"` + claimed.Encoded() + `"}}],"predicate":{}}`
	return s.cosign(t, s.Put("application/vnd.dsse.envelope.v1+json",
		[]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"`+base64.StdEncoding.EncodeToString([]byte(statement))+`","signatures":[]}`)))
}

// CosignSBOM stores what cosign's tag for SBOMs leads to: a text that says
// nothing of its subject.
func (s *Store) CosignSBOM(t testing.TB) ocispec.Descriptor {
	t.Helper()
	return s.cosign(t, s.Put("text/spdx", []byte("SPDXVersion: SPDX-2.3\n")))
}

// cosign is a manifest as cosign makes them: with the config of an image that
// has diff IDs, though the blobs are no tars.
func (s *Store) cosign(t testing.TB, layer ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	config := ocispec.Image{RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}}}
	return s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: s.PutJSON(t, ocispec.MediaTypeImageConfig, config), Layers: []ocispec.Descriptor{layer},
	})
}

// Tag notes a manifest under one of cosign's tags of subject: ".sig", ".att",
// ".sbom".
func (s *Store) Tag(desc ocispec.Descriptor, subject digest.Digest, end string) string {
	for _, tag := range pipeline.CosignTags(subject) {
		if len(tag) > len(end) && tag[len(tag)-len(end):] == end {
			s.Tagged = append(s.Tagged, pipeline.Root{Desc: desc, Tags: []string{tag}})
			return tag
		}
	}
	return ""
}
