package builtin_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// signed is an index of one image with all kinds of referrers, and the digests
// of all of it.
func signed(t *testing.T) (src *pipelinetest.Source, all []digest.Digest) {
	t.Helper()
	s := pipelinetest.NewStore()
	image := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "a"})}})
	index := s.Index(t, image)
	sbom := s.Referrer(t, image, "sbom")
	ofSBOM := s.Referrer(t, sbom, "signature of the SBOM")
	sig, text := s.Signature(t, index.Digest), s.CosignSBOM(t)
	s.Tag(sig, index.Digest, ".sig")
	s.Tag(text, image.Digest, ".sbom")
	s.Tag(text, index.Digest, ".sbom")
	for _, d := range []ocispec.Descriptor{image, index, sbom, ofSBOM, sig, text} {
		all = append(all, d.Digest)
	}
	slices.Sort(all)
	return s.Source(index, "registry.example/team/app:1"), all
}

// moveWith runs a source into a destination and returns the warnings.
func moveWith(t *testing.T, src pipeline.Source, dst pipeline.Sink, referrers bool) (warnings []string) {
	t.Helper()
	_, err := pipeline.Run(t.Context(), src, nil, dst, pipeline.Options{Query: pipeline.Query{
		Referrers: referrers, Events: func(e pipeline.Event) {
			if e.Kind == pipeline.EventWarning {
				warnings = append(warnings, e.Message)
			}
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return warnings
}

func sinkOf(t *testing.T, to string) pipeline.Sink {
	t.Helper()
	dst, err := builtin.Schemes(builtin.Config{}).Sink(to)
	if err != nil {
		t.Fatal(err)
	}
	return dst
}

// A layout in an archive or a directory keeps what refers to its images, so that
// the next trip finds it: every manifest, cosign's tags, and all of it again
// after a second trip into a place that has it already.
func TestLayoutsKeepReferrers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ to, query string }{{"tar", "?format=oci"}, {"tar", ""}, {"tar.gz", ""}, {"dir", "?format=oci"}} {
		t.Run(c.to+c.query, func(t *testing.T) {
			t.Parallel()
			scheme := "tar://"
			if c.to == "dir" {
				scheme = "dir://"
			}
			place := scheme + filepath.Join(t.TempDir(), "x."+c.to)
			src, all := signed(t)
			for range 2 {
				dst := sinkOf(t, place+c.query)
				moveWith(t, src, dst, true)
				got := pipelinetest.NewSink()
				back, err := builtin.Schemes(builtin.Config{}).Source(place)
				if err != nil {
					t.Fatal(err)
				}
				if w := moveWith(t, back, got, true); len(w) != 0 {
					t.Errorf("warned %q", w)
				}
				var have []digest.Digest
				tags := 0
				for _, m := range got.Committed {
					have = append(have, m.Desc.Digest)
					for _, of := range m.Refers {
						if of.Tag != "" {
							tags++
						}
					}
				}
				slices.Sort(have)
				if !slices.Equal(have, all) || tags != 3 || len(got.Published) != 1 {
					t.Errorf("came back: %v with %d tags, %d roots; want %v", have, tags, len(got.Published), all)
				}
				alone := pipelinetest.NewSink()
				if w := moveWith(t, back, alone, false); len(w) != 1 || len(alone.Committed) != 2 {
					t.Errorf("without the option %d came, warned %q", len(alone.Committed), w)
				}
			}
		})
	}
}

// The list of a layout has the artifact's type and annotations, and cosign's tag
// as the reference name, each once.
func TestLayoutListsReferrersAsOthersReadThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src, _ := signed(t)
	for range 2 {
		dst := sinkOf(t, "dir://"+dir+"?format=oci")
		moveWith(t, src, dst, true)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var idx ocispec.Index
	if err := json.Unmarshal(raw, &idx); err != nil {
		t.Fatal(err)
	}
	sboms, tags := 0, 0
	for _, d := range idx.Manifests {
		if d.ArtifactType == pipelinetest.SBOMType && d.Annotations["org.example.kind"] == "sbom" {
			sboms++
		}
		if _, ok := pipeline.CosignSubject(d.Annotations[ocispec.AnnotationRefName]); ok {
			tags++
		}
	}
	if len(idx.Manifests) != 6 || sboms != 2 || tags != 3 {
		t.Errorf("the list is %s", raw)
	}
}

// Formats without manifests take the image and say what they cannot hold.
func TestPlainFormatsLeaveReferrersOutAloud(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"tar://" + filepath.Join(t.TempDir(), "x.tar") + "?format=docker", "dir://" + t.TempDir()} {
		src, _ := signed(t)
		dst := sinkOf(t, to)
		if w := moveWith(t, src, dst, true); len(w) != 1 {
			t.Errorf("%s: warned %q", to, w)
		}
	}
}

// A layout that gives other bytes than its list promises is refused, whether what
// refers to images was asked for or not.
func TestTamperedReferrerOfALayoutIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src, _ := signed(t)
	dst := sinkOf(t, "dir://"+dir+"?format=oci")
	moveWith(t, src, dst, true)
	found, err := src.Store.Referrers(t.Context(), manifestsOf(t, src)[0])
	if err != nil || len(found) != 2 {
		t.Fatalf("%v: %v", err, found)
	}
	for _, ref := range found {
		file := filepath.Join(dir, "blobs", "sha256", ref.Desc.Digest.Encoded())
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tampered := bytes.Replace(raw, []byte("schemaVersion"), []byte("schemaVersioN"), 1)
		if err := os.WriteFile(file, tampered, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, asked := range []bool{true, false} {
			back, err := builtin.Schemes(builtin.Config{}).Source("dir://" + dir)
			if err != nil {
				t.Fatal(err)
			}
			got := pipelinetest.NewSink()
			_, err = pipeline.Run(t.Context(), back, nil, got, pipeline.Options{Query: pipeline.Query{Referrers: asked}})
			// A tag of cosign's tells what it is without being read.
			if refused := errors.Is(err, pipeline.ErrDigest); refused != (asked || ref.Tag == "") || refused && len(got.Published) > 0 {
				t.Errorf("%s, asked for: %v: %v, published %d", ref.Tag, asked, err, len(got.Published))
			}
		}
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// manifestsOf are the manifests that a source's index lists.
func manifestsOf(t *testing.T, src *pipelinetest.Source) (out []digest.Digest) {
	t.Helper()
	var idx ocispec.Index
	if err := json.Unmarshal(src.Store.Bytes(src.Roots[0].Desc.Digest), &idx); err != nil {
		t.Fatal(err)
	}
	for _, d := range idx.Manifests {
		out = append(out, d.Digest)
	}
	return out
}
