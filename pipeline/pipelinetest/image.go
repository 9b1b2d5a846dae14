package pipelinetest

import (
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// An Image is what Store.Image makes an image from.
type Image struct {
	Platform    string // "linux/amd64" when empty
	Docker      bool   // Docker's media types instead of OCI's
	Compression pipeline.Compression
	Layers      [][]byte // plain tars
	Annotations map[string]string
	Config      ocispec.ImageConfig
	History     []ocispec.History // one for each layer when nil
}

// Image stores an image and describes its manifest.
func (s *Store) Image(t testing.TB, i Image) ocispec.Descriptor {
	t.Helper()
	if i.Platform == "" {
		i.Platform = "linux/amd64"
	}
	p, err := pipeline.ParsePlatform(i.Platform)
	if err != nil {
		t.Fatal(err)
	}
	config := ocispec.Image{Platform: p, Config: i.Config, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Annotations: i.Annotations, Layers: []ocispec.Descriptor{}}
	configType := ocispec.MediaTypeImageConfig
	if i.Docker {
		m.MediaType, configType = pipeline.MediaTypeDockerManifest, pipeline.MediaTypeDockerConfig
	}
	for _, l := range i.Layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l))
		config.History = append(config.History, ocispec.History{CreatedBy: "COPY <files> / # & more"})
		m.Layers = append(m.Layers, s.Put(i.layerType(), Compress(t, i.Compression, l)))
	}
	if i.History != nil {
		config.History = i.History
	}
	m.Config = s.PutJSON(t, configType, config)
	desc := s.PutJSON(t, m.MediaType, m)
	desc.Platform = &p
	return desc
}

// LyingImage stores an image of one gzip layer whose config says that stored
// holds plain.
func (s *Store) LyingImage(t testing.TB, plain, stored []byte) ocispec.Descriptor {
	t.Helper()
	img := s.Image(t, Image{Compression: pipeline.Gzip, Layers: [][]byte{plain}})
	var m ocispec.Manifest
	if err := json.Unmarshal(s.Bytes(img.Digest), &m); err != nil {
		t.Fatal(err)
	}
	m.Layers[0] = s.Put(m.Layers[0].MediaType, stored)
	lying := s.PutJSON(t, m.MediaType, m)
	lying.Platform = img.Platform
	return lying
}

func (i Image) layerType() string {
	switch {
	case i.Docker && i.Compression == pipeline.Gzip:
		return "application/vnd.docker.image.rootfs.diff.tar.gzip"
	case i.Docker:
		return "application/vnd.docker.image.rootfs.diff.tar"
	case i.Compression == pipeline.Gzip:
		return ocispec.MediaTypeImageLayerGzip
	case i.Compression == pipeline.Zstd:
		return ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.MediaTypeImageLayer
}

// Index stores an index of manifests.
func (s *Store) Index(t testing.TB, manifests ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	return s.PutJSON(t, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests,
	})
}

// Attestation stores an attestation as BuildKit makes them for an image.
func (s *Store) Attestation(t testing.TB, image digest.Digest) ocispec.Descriptor {
	t.Helper()
	statement := s.Put("application/vnd.in-toto+json", []byte(`{"_type":"statement","subject":"`+image.String()+`"}`))
	config := ocispec.Image{
		Platform: ocispec.Platform{OS: "unknown", Architecture: "unknown"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{statement.Digest}},
	}
	desc := s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: s.PutJSON(t, ocispec.MediaTypeImageConfig, config), Layers: []ocispec.Descriptor{statement},
	})
	desc.Platform = &config.Platform
	desc.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.String()}
	return desc
}

// Source returns a source whose one root has the given names.
func (s *Store) Source(root ocispec.Descriptor, names ...string) *Source {
	return &Source{Store: s, Roots: []pipeline.Root{{Desc: root, Names: names}}}
}
