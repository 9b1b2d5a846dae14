package pipeline_test

import (
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// spoilt stores an image whose manifest was edited.
func spoilt(t *testing.T, s *pipelinetest.Store, edit func(*ocispec.Manifest)) *pipelinetest.Source {
	t.Helper()
	desc := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "a", Body: "1"})}})
	var m ocispec.Manifest
	if err := json.Unmarshal(s.Bytes(desc.Digest), &m); err != nil {
		t.Fatal(err)
	}
	edit(&m)
	return s.Source(s.PutJSON(t, desc.MediaType, m))
}

// What is an error for everyone else is a fault for who asks, and the rest is
// read all the same.
func TestFaultsAreToldAndTheRestIsRead(t *testing.T) {
	t.Parallel()
	for kind, edit := range map[pipeline.FaultKind]func(*pipelinetest.Store, *ocispec.Manifest){
		pipeline.FaultManifestType:     func(_ *pipelinetest.Store, m *ocispec.Manifest) { m.MediaType = pipeline.MediaTypeDockerManifest },
		pipeline.FaultConfigDescriptor: func(_ *pipelinetest.Store, m *ocispec.Manifest) { m.Config.Digest = "" },
		pipeline.FaultConfigDigest:     func(s *pipelinetest.Store, m *ocispec.Manifest) { s.Corrupt(m.Config.Digest, []byte(`{}`)) },
		pipeline.FaultConfigSize:       func(_ *pipelinetest.Store, m *ocispec.Manifest) { m.Config.Size++ },
		pipeline.FaultConfigFormat:     func(s *pipelinetest.Store, m *ocispec.Manifest) { m.Config = s.Put(m.Config.MediaType, []byte("no")) },
		pipeline.FaultLayerCount:       func(_ *pipelinetest.Store, m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) },
		pipeline.FaultLayerDescriptor:  func(_ *pipelinetest.Store, m *ocispec.Manifest) { m.Layers[0].Digest = "sha256:short" },
		pipeline.FaultMissing:          func(s *pipelinetest.Store, m *ocispec.Manifest) { s.Delete(m.Layers[0].Digest) },
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.NewStore()
			src := spoilt(t, s, func(m *ocispec.Manifest) { edit(s, m) })
			if _, err := src.Open(t.Context(), pipeline.Query{}); err == nil {
				t.Error("it is no error for everyone else")
			}
			told := map[pipeline.FaultKind]digest.Digest{}
			g, err := src.Open(t.Context(), pipeline.Query{Faults: func(f pipeline.Fault) { told[f.Kind] = f.Manifest }})
			if err != nil {
				t.Fatal(err)
			}
			if told[kind] != src.Roots[0].Desc.Digest {
				t.Errorf("told is %v", told)
			}
			n := 0
			for _, err := range g.Manifests(t.Context()) {
				if n++; err != nil {
					t.Error(err)
				}
			}
			if n != 1 {
				t.Errorf("%d manifests are left", n)
			}
		})
	}
}

func TestLookTellsHowLayersAreStored(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	layer := pipelinetest.Tar(t, pipelinetest.File{Name: "a", Body: "1"})
	gz := append(pipelinetest.Compress(t, pipeline.Gzip, layer[:512]), pipelinetest.Compress(t, pipeline.Gzip, layer[512:])...)
	config := s.PutJSON(t, ocispec.MediaTypeImageConfig, ocispec.Image{RootFS: ocispec.RootFS{DiffIDs: []digest.Digest{digest.FromBytes(layer)}}})
	src := s.Source(s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, Config: config,
		Layers: []ocispec.Descriptor{s.Put(ocispec.MediaTypeImageLayerGzip, gz)},
	}))
	var w storedWatcher
	if err := pipeline.Look(t.Context(), src, []pipeline.Filter{&w}, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	if want := (pipeline.Stored{Compression: pipeline.Gzip, Members: 2, Plain: int64(len(layer))}); w.stored != want {
		t.Errorf("stored is %+v, expected %+v", w.stored, want)
	}
}

type storedWatcher struct {
	watcher
	stored pipeline.Stored
}

func (w *storedWatcher) Stored(_ pipeline.LayerID, s pipeline.Stored) { w.stored = s }
