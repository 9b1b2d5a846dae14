package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// withReferrers is a run that takes everything along, and keeps its warnings.
func withReferrers(warnings *[]string) pipeline.Options {
	return pipeline.Options{Query: pipeline.Query{
		Platforms: pipeline.Platforms{All: true}, Referrers: true,
		Events: func(e pipeline.Event) {
			if e.Kind == pipeline.EventWarning && warnings != nil {
				*warnings = append(*warnings, e.Message)
			}
		},
	}}
}

// carried are the digests that a sink got, in the order in which they came.
func carried(s *pipelinetest.Sink) (out []digest.Digest) {
	for _, m := range s.Committed {
		out = append(out, m.Desc.Digest)
	}
	return out
}

func tinyImage(t testing.TB, s *pipelinetest.Store, name string) ocispec.Descriptor {
	t.Helper()
	return s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: name, Body: name})}})
}

// What refers to an image, to the index that lists it, and to what refers to
// them comes along, each behind what it speaks of.
func TestReferrersOfUnchangedDigestsComeAlong(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := tinyImage(t, s, "a")
	index := s.Index(t, image)
	sbom := s.Referrer(t, image, "of the image")
	ofSBOM := s.Referrer(t, sbom, "of the SBOM")
	sig := s.Signature(t, index.Digest)
	att := s.CosignAttestation(t, image.Digest)
	text := s.CosignSBOM(t)
	tag := s.Tag(sig, index.Digest, ".sig")
	s.Tag(att, image.Digest, ".att")
	s.Tag(text, image.Digest, ".sbom")
	s.Tag(text, index.Digest, ".sbom") // the same SBOM for both
	dst := pipelinetest.NewSink()
	var warnings []string
	report := run(t, s.Source(index, "registry.example/app:1"), dst, withReferrers(&warnings))
	got := carried(dst)
	for _, d := range []ocispec.Descriptor{image, index, sbom, ofSBOM, sig, att, text} {
		if !slices.Contains(got, d.Digest) {
			t.Errorf("%s did not come along", d.Digest)
		}
	}
	if len(got) != 7 || report.Referrers != 5 || slices.Index(got, sbom.Digest) > slices.Index(got, ofSBOM.Digest) || slices.Index(got, index.Digest) > slices.Index(got, sig.Digest) {
		t.Errorf("%d came, in the order %v; %d referrers", len(got), got, report.Referrers)
	}
	for _, m := range dst.Committed {
		switch m.Desc.Digest {
		case sig.Digest:
			if len(m.Refers) != 1 || m.Refers[0] != (pipeline.Referral{Subject: index.Digest, Tag: tag}) {
				t.Errorf("the signature refers to %v", m.Refers)
			}
		case text.Digest:
			if len(m.Refers) != 2 {
				t.Errorf("the SBOM of both refers to %v", m.Refers)
			}
		case sbom.Digest:
			if m.Desc.ArtifactType != pipelinetest.SBOMType || m.Desc.Annotations["org.example.kind"] != "sbom" {
				t.Errorf("the SBOM is described as %+v", m.Desc)
			}
		}
	}
	if len(warnings) != 0 {
		t.Errorf("warned of %q", warnings)
	}
}

func TestReferrersStayWhereNobodyAsksForThem(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := tinyImage(t, s, "a")
	sbom := s.Referrer(t, image, "sbom")
	dst := pipelinetest.NewSink()
	run(t, s.Source(image), dst, pipeline.Options{})
	if got := carried(dst); !slices.Equal(got, []digest.Digest{image.Digest}) || dst.Store.Bytes(sbom.Digest) != nil {
		t.Errorf("carried %v", got)
	}
}

// A signature of what a filter changed would be one of nothing that is there: it
// is left out with all that speaks of it, its blobs are not read, and the report
// says so. That of the image beside it comes along.
func TestReferrersOfChangedDigestsAreLeftOut(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	stays, changes := tinyImage(t, s, "other"), tinyImage(t, s, "a")
	index := s.Index(t, stays, changes)
	kept := s.Referrer(t, stays, "of what stays")
	sbom := s.Referrer(t, changes, "of what changes")
	ofSBOM := s.Referrer(t, sbom, "of the SBOM")
	sig := s.Signature(t, index.Digest)
	s.Tag(sig, index.Digest, ".sig")
	dst := pipelinetest.NewSink()
	report := run(t, s.Source(index), dst, withReferrers(nil), rename{"a", "b"})
	got := carried(dst)
	if !slices.Contains(got, kept.Digest) || len(got) != 4 || report.Referrers != 1 {
		t.Errorf("carried %v", got)
	}
	for _, d := range []ocispec.Descriptor{sbom, ofSBOM, sig} {
		var m ocispec.Manifest
		if err := json.Unmarshal(s.Bytes(d.Digest), &m); err != nil {
			t.Fatal(err)
		}
		if dst.Store.Bytes(m.Layers[0].Digest) != nil {
			t.Errorf("the blob of %s was taken", d.Digest)
		}
	}
	if text := strings.Join(report.Dropped, "\n"); len(report.Dropped) != 3 || !strings.Contains(text, "cosign signature of "+index.Digest.String()) || !strings.Contains(text, "("+pipelinetest.SBOMType+")") {
		t.Errorf("reported as left out: %q", report.Dropped)
	}
}

// lying is a Content that claims referrers of its own.
type lying struct {
	*pipelinetest.Store
	claims map[digest.Digest][]pipeline.Referrer
}

func (l lying) Referrers(_ context.Context, subject digest.Digest) ([]pipeline.Referrer, error) {
	return l.claims[subject], nil
}

func resolve(t *testing.T, c pipeline.Content, root ocispec.Descriptor, o pipeline.Options) ([]digest.Digest, error) {
	t.Helper()
	g, err := pipeline.Resolve(t.Context(), c, []pipeline.Root{{Desc: root}}, o.Query, pipeline.ResolveOptions{}, nil)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	var out []digest.Digest
	for m, err := range g.Manifests(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m.Desc.Digest)
	}
	return out, nil
}

// A list of referrers is a stranger's claim. What does not speak of the subject,
// is not there or is of an unknown kind is left out aloud.
func TestWhatIsNoReferrerIsLeftOut(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image, other := tinyImage(t, s, "a"), tinyImage(t, s, "b")
	tags := pipeline.CosignTags(image.Digest)
	gone := s.Referrer(t, image, "gone")
	s.Delete(gone.Digest)
	noBlob := s.Referrer(t, image, "a blob is gone")
	s.Delete(digest.FromString("a blob is gone"))
	for what, ref := range map[string]pipeline.Referrer{
		"another image":                     {Desc: other},
		"an artifact of another image":      {Desc: s.Referrer(t, other, "x")},
		"a signature of another image":      {Desc: s.Signature(t, other.Digest), Tag: tags[0]},
		"an attestation of another":         {Desc: s.CosignAttestation(t, other.Digest), Tag: tags[1]},
		"an SBOM where signatures are":      {Desc: s.CosignSBOM(t), Tag: tags[0]},
		"an image where an SBOM is":         {Desc: other, Tag: tags[2]},
		"an index where a signature is":     {Desc: s.Index(t, other), Tag: tags[0]},
		"what is not there":                 {Desc: gone},
		"what lacks a blob":                 {Desc: noBlob},
		"a manifest of an unknown kind":     {Desc: s.Put("application/vnd.oci.artifact.manifest.v1+json", []byte("{}"))},
		"the image itself, by a cosign tag": {Desc: image, Tag: tags[0]},
	} {
		var warnings []string
		got, err := resolve(t, lying{s, map[digest.Digest][]pipeline.Referrer{image.Digest: {ref}}}, image, withReferrers(&warnings))
		quiet := ref.Desc.Digest == image.Digest
		if err != nil || !slices.Equal(got, []digest.Digest{image.Digest}) || len(warnings) != 1 && !quiet {
			t.Errorf("%s: %v, carried %v, warned %q", what, err, got, warnings)
		}
	}
}

// Bytes that are not those promised are refused, and so is a list or a chain
// without end.
func TestHostileReferrersAreRefused(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := tinyImage(t, s, "a")
	tampered := s.Referrer(t, image, "x")
	s.Corrupt(tampered.Digest, []byte(strings.Replace(string(s.Bytes(tampered.Digest)), "sbom", "mobs", 1)))
	chain := map[digest.Digest][]pipeline.Referrer{}
	for at := image; len(chain) < 20; {
		next := s.Referrer(t, at, fmt.Sprint(len(chain)))
		chain[at.Digest] = []pipeline.Referrer{{Desc: next}}
		at = next
	}
	var many []pipeline.Referrer
	for n := range 30 {
		many = append(many, pipeline.Referrer{Desc: s.Referrer(t, image, fmt.Sprint("many", n))})
	}
	few := withReferrers(nil)
	few.Limits.Manifests = 20
	for what, c := range map[string]struct {
		claims map[digest.Digest][]pipeline.Referrer
		o      pipeline.Options
		want   error
	}{
		"a tampered one": {map[digest.Digest][]pipeline.Referrer{image.Digest: {{Desc: tampered}}}, withReferrers(nil), pipeline.ErrDigest},
		"a chain":        {chain, withReferrers(nil), pipeline.ErrLimit},
		"too many":       {map[digest.Digest][]pipeline.Referrer{image.Digest: many}, few, pipeline.ErrLimit},
	} {
		if got, err := resolve(t, lying{s, c.claims}, image, c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, carried %d manifests", what, err, len(got))
		}
	}
}

// Tags can lead in a circle, which digests cannot: each manifest comes once.
func TestReferrersInACircleComeOnce(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := tinyImage(t, s, "a")
	sbom := s.CosignSBOM(t)
	got, err := resolve(t, lying{s, map[digest.Digest][]pipeline.Referrer{
		image.Digest: {{Desc: sbom, Tag: pipeline.CosignTags(image.Digest)[2]}},
		sbom.Digest:  {{Desc: sbom, Tag: pipeline.CosignTags(sbom.Digest)[2]}},
	}}, image, withReferrers(nil))
	if err != nil || len(got) != 2 {
		t.Errorf("%v: %v", err, got)
	}
}

// What a layout lists beside its images and what only speaks of them is no image
// of its own: it comes along with them where it is asked for, never alone.
func TestReferrersAmongRootsAreNoImages(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := tinyImage(t, s, "a")
	sbom := s.Referrer(t, image, "x")
	sig := s.Signature(t, image.Digest)
	tag := s.Tag(sig, image.Digest, ".sig")
	elsewhere := s.Referrer(t, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("elsewhere"), Size: 9}, "y")
	src := &pipelinetest.Source{Store: s, Roots: []pipeline.Root{
		{Desc: s.Index(t, sbom), Tags: []string{pipeline.ReferrersTag(image.Digest)}}, {Desc: sig, Tags: []string{tag}}, {Desc: sbom}, {Desc: image, Names: []string{"app:1"}}, {Desc: elsewhere},
	}}
	for _, c := range []struct {
		referrers bool
		capacity  pipeline.Capacity
		filters   []pipeline.Filter
		want      int
		warnings  int
	}{
		{true, pipeline.Capacity{}, nil, 4, 0},
		{false, pipeline.Capacity{}, nil, 2, 1},
		{true, pipeline.Capacity{NoReferrers: true}, nil, 2, 2},
		{true, pipeline.Capacity{}, []pipeline.Filter{rename{"a", "b"}}, 2, 0},
	} {
		var warnings []string
		o := withReferrers(&warnings)
		o.Referrers = c.referrers
		dst := pipelinetest.NewSink()
		dst.Holds = c.capacity
		run(t, src, dst, o, c.filters...)
		if got := carried(dst); len(got) != c.want || len(warnings) != c.warnings || len(dst.Published) != 2 {
			t.Errorf("%+v: carried %v, published %d, warned %q", c, got, len(dst.Published), warnings)
		}
	}
}

// An index may refer to something, too; what it lists comes and goes with it.
func TestIndexThatRefersComesWithItsImages(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := tinyImage(t, s, "a")
	child := tinyImage(t, s, "debug")
	index := s.PutJSON(t, ocispec.MediaTypeImageIndex, ocispec.Index{
		MediaType: ocispec.MediaTypeImageIndex, ArtifactType: "application/x-debug", Manifests: []ocispec.Descriptor{child}, Subject: &image,
	})
	for _, c := range []struct {
		filters []pipeline.Filter
		want    int
	}{{nil, 3}, {[]pipeline.Filter{rename{"a", "b"}}, 1}} {
		dst := pipelinetest.NewSink()
		run(t, s.Source(image), dst, withReferrers(nil), c.filters...)
		if got := carried(dst); len(got) != c.want || c.want == 3 && !slices.Contains(got, index.Digest) {
			t.Errorf("carried %v, want %d", got, c.want)
		}
	}
}

// A list may name a manifest twice, and a layout a tag in two ways.
func TestAReferrerThatIsListedTwiceComesOnce(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := tinyImage(t, s, "a")
	sig := s.Signature(t, image.Digest)
	tag := s.Tag(sig, image.Digest, ".sig")
	s.Tagged = append(s.Tagged, pipeline.Root{Desc: sig, Names: []string{"registry.example/app:" + tag}})
	dst := pipelinetest.NewSink()
	run(t, s.Source(image), dst, withReferrers(nil))
	if len(dst.Committed) != 2 || !slices.Equal(dst.Committed[1].Refers, []pipeline.Referral{{Subject: image.Digest, Tag: tag}}) {
		t.Errorf("committed %v, the signature refers to %v", carried(dst), dst.Committed[1].Refers)
	}
	entries, err := pipeline.ReferrerEntries(dst.Committed)
	if err != nil || len(entries) != 1 {
		t.Errorf("an index would list %v, %v", entries, err)
	}
}

func TestASignatureWithoutItsPayloadIsLeftOut(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := tinyImage(t, s, "a")
	sig := s.Signature(t, image.Digest)
	s.Tag(sig, image.Digest, ".sig")
	var m ocispec.Manifest
	if err := json.Unmarshal(s.Bytes(sig.Digest), &m); err != nil {
		t.Fatal(err)
	}
	s.Delete(m.Layers[0].Digest)
	dst := pipelinetest.NewSink()
	var warnings []string
	run(t, s.Source(image), dst, withReferrers(&warnings))
	if got := carried(dst); !slices.Equal(got, []digest.Digest{image.Digest}) || len(warnings) != 1 || !strings.Contains(warnings[0], "a blob of it is not here") {
		t.Errorf("carried %v, warned of %q", got, warnings)
	}
}
