package pipeline_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func withProvenance(mode pipeline.ProvenanceMode) pipeline.Options {
	return pipeline.Options{
		Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}},
		Provenance: pipeline.Provenance{
			Mode: mode, Version: "v1.2.3",
			Filters: []pipeline.FilterOutline{{Name: "config", Options: []string{"env", "user"}}, {Name: "exclude", Options: []string{"pattern"}}, {Name: "search"}},
		},
	}
}

// Images that changed and the index that lists them say what they were; what did
// not change stays as it is. Values of options are nowhere.
func TestProvenanceAnnotatesWhatChanged(t *testing.T) {
	t.Parallel()
	for _, docker := range []bool{false, true} {
		s := pipelinetest.NewStore()
		stays := tinyImage(t, s, "other")
		changes := s.Image(t, pipelinetest.Image{
			Docker: docker, Compression: pipeline.Gzip, Platform: "linux/arm64", Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "a"})},
		})
		index := s.Index(t, stays, changes)
		dst := pipelinetest.NewSink()
		run(t, s.Source(index), dst, withProvenance(pipeline.ProvenanceAnnotation), rename{"a", "b"})
		if len(dst.Committed) != 3 || dst.Committed[0].Desc.Digest != stays.Digest {
			t.Fatalf("committed %v", carried(dst))
		}
		for i, source := range map[int]digest.Digest{1: changes.Digest, 2: index.Digest} {
			var m struct{ Annotations map[string]string }
			if err := json.Unmarshal(dst.Committed[i].Raw, &m); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{
				"io.github.occystrap.source.digest": source.String(), "io.github.occystrap.version": "v1.2.3",
				"io.github.occystrap.recipe": "config:env,user exclude:pattern search",
			}
			if !maps.Equal(m.Annotations, want) {
				t.Errorf("docker %v: annotations are %v", docker, m.Annotations)
			}
		}
		image := dst.Committed[1]
		if m, _ := manifestOf(t, image); image.Desc.MediaType != ocispec.MediaTypeImageManifest || m.MediaType != image.Desc.MediaType ||
			m.Config.MediaType != ocispec.MediaTypeImageConfig || m.Layers[0].MediaType != ocispec.MediaTypeImageLayerGzip {
			t.Errorf("the manifest is %s", image.Raw)
		}
	}
}

// The artifact says the same in an in-toto statement, and refers to what it
// speaks of. Equal runs make equal artifacts.
func TestProvenanceRefersToWhatChanged(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	stays, changes := tinyImage(t, s, "other"), tinyImage(t, s, "a")
	index := s.Index(t, stays, changes)
	var first []digest.Digest
	for range 2 {
		dst := pipelinetest.NewSink()
		report := run(t, s.Source(index), dst, withProvenance(pipeline.ProvenanceReferrer), rename{"a", "b"})
		if len(dst.Committed) != 5 || report.Referrers != 0 {
			t.Fatalf("committed %d, %d referrers", len(dst.Committed), report.Referrers)
		}
		for i, source := range []digest.Digest{changes.Digest, index.Digest} {
			checkStatement(t, dst, dst.Committed[3+i], dst.Committed[1+i], source)
		}
		if first == nil {
			first = carried(dst)
		}
		if !slices.Equal(first, carried(dst)) {
			t.Errorf("the same run made %v, then %v", first, carried(dst))
		}
	}
}

// checkStatement looks into the artifact that speaks of a manifest.
func checkStatement(t *testing.T, dst *pipelinetest.Sink, artifact, of pipeline.Manifest, source digest.Digest) {
	t.Helper()
	var m ocispec.Manifest
	if err := json.Unmarshal(artifact.Raw, &m); err != nil {
		t.Fatal(err)
	}
	if m.Subject == nil || m.Subject.Digest != of.Desc.Digest || m.ArtifactType != "application/vnd.in-toto+json" || string(artifact.Config) != "{}" ||
		!slices.Equal(artifact.Refers, []pipeline.Referral{{Subject: of.Desc.Digest}}) || !maps.Equal(m.Annotations, artifact.Desc.Annotations) {
		t.Errorf("the artifact is %s", artifact.Raw)
	}
	raw := dst.Store.Bytes(m.Layers[0].Digest)
	var s struct {
		Type      string `json:"_type"`
		Subject   []struct{ Digest map[string]string }
		Predicate struct {
			Source  struct{ Digest map[string]string }
			Filters []pipeline.FilterOutline
			Builder struct{ Version string }
		}
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if s.Type != "https://in-toto.io/Statement/v1" || len(s.Subject) != 1 || s.Subject[0].Digest["sha256"] != of.Desc.Digest.Encoded() ||
		s.Predicate.Source.Digest["sha256"] != source.Encoded() || len(s.Predicate.Filters) != 3 || s.Predicate.Builder.Version != "v1.2.3" {
		t.Errorf("the statement is %s", raw)
	}
}

func TestProvenanceOfACopyIsNone(t *testing.T) {
	t.Parallel()
	for _, mode := range []pipeline.ProvenanceMode{pipeline.ProvenanceOff, pipeline.ProvenanceAnnotation, pipeline.ProvenanceReferrer} {
		s := pipelinetest.NewStore()
		index := s.Index(t, tinyImage(t, s, "a"))
		dst := pipelinetest.NewSink()
		run(t, s.Source(index), dst, withProvenance(mode))
		if dst.Published[0].Desc.Digest != index.Digest || len(dst.Committed) != 2 {
			t.Errorf("%s: committed %v", mode, carried(dst))
		}
	}
}

// Who asks for it by name is told where it can be had, before anything is read.
func TestProvenanceThatASinkCannotHoldIsRefused(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := tinyImage(t, s, "a")
	for _, c := range []struct {
		mode  pipeline.ProvenanceMode
		holds pipeline.Capacity
		want  string
	}{
		{pipeline.ProvenanceReferrer, pipeline.Capacity{NoReferrers: true}, "--provenance=annotation"},
		{pipeline.ProvenanceReferrer, pipeline.Capacity{NoReferrers: true, NoAnnotations: true}, "OCI layout"},
		{pipeline.ProvenanceAnnotation, pipeline.Capacity{NoReferrers: true, NoAnnotations: true}, "OCI layout"},
		{pipeline.ProvenanceAnnotation, pipeline.Capacity{NoReferrers: true}, ""},
	} {
		dst := pipelinetest.NewSink()
		dst.Holds = c.holds
		_, err := pipeline.Run(t.Context(), s.Source(image), nil, dst, withProvenance(c.mode))
		var usage *pipeline.UsageError
		if c.want != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), c.want)) || c.want == "" && err != nil {
			t.Errorf("%s, %+v: %v", c.mode, c.holds, err)
		}
	}
}

// "annotations": null is what some encoders write for none.
func TestProvenanceAnnotatesWhereAnnotationsAreNull(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := tinyImage(t, s, "a")
	var m map[string]any
	if err := json.Unmarshal(s.Bytes(image.Digest), &m); err != nil {
		t.Fatal(err)
	}
	m["annotations"] = nil
	image = s.PutJSON(t, ocispec.MediaTypeImageManifest, m)
	dst := pipelinetest.NewSink()
	run(t, s.Source(image), dst, withProvenance(pipeline.ProvenanceAnnotation), rename{"a", "b"})
	var now struct{ Annotations map[string]string }
	if err := json.Unmarshal(dst.Committed[0].Raw, &now); err != nil {
		t.Fatal(err)
	}
	if now.Annotations[pipeline.AnnotationSource] != image.Digest.String() {
		t.Errorf("annotations are %v", now.Annotations)
	}
}
