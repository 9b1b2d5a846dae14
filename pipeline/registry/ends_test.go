package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
)

const appName = "registry.example/team/app:1"

var appTag = registry.Ref{Tag: "1"}

// everything is a run that leaves nothing out.
func everything() pipeline.Options {
	return pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}, Referrers: true}}
}

func TestEndsConform(t *testing.T) {
	t.Parallel()
	pipelinetest.TestEnd(t, pipelinetest.End{Sink: func(t *testing.T) (pipeline.Sink, func() (pipeline.Source, error)) {
		t.Helper()
		r := pipelinetest.NewRegistry()
		t.Cleanup(func() {
			if n := r.Uploading(); n > 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
		return registry.NewSink(r.Backend(), "team/app", []string{"1"}), func() (pipeline.Source, error) {
			return registry.NewSource(r.Backend(), "team/app", appTag, []string{appName}), nil
		}
	}})
}

// signed is an index with all that may refer to an image.
func signed(t *testing.T) (s *pipelinetest.Store, index ocispec.Descriptor, referrers []digest.Digest, tag string) {
	t.Helper()
	s = pipelinetest.NewStore()
	image := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "f"})}})
	index = s.Index(t, image, s.Attestation(t, image.Digest))
	sbom := s.Referrer(t, index, "sbom")
	sig := s.Signature(t, index.Digest)
	tag = s.Tag(sig, index.Digest, ".sig")
	return s, index, []digest.Digest{sbom.Digest, s.Referrer(t, sbom, "about the sbom").Digest, sig.Digest}, tag
}

// What refers to an image goes in and comes out, and is seen no earlier than it.
func TestSinkAndSourceCarryReferrers(t *testing.T) {
	t.Parallel()
	s, index, referrers, tag := signed(t)
	b := pipelinetest.NewRegistry().Backend()
	for from, src := range []pipeline.Source{s.Source(index, appName), registry.NewSource(b, "team/app", appTag, nil)} {
		to := fmt.Sprint("to/", from)
		if from == 0 {
			to = "team/app"
		}
		report, err := pipeline.Run(t.Context(), src, nil, registry.NewSink(b, to, []string{"1", "latest"}), everything())
		if err != nil || report.Referrers != len(referrers) {
			t.Fatalf("%d referrers came along, %v", report.Referrers, err)
		}
		for _, name := range []registry.Ref{{Tag: "1"}, {Tag: "latest"}, {Digest: index.Digest}} {
			if desc, err := b.Manifests.Stat(t.Context(), to, name); err != nil || desc.Digest != index.Digest {
				t.Errorf("%s is %v, %v", name, desc.Digest, err)
			}
		}
		list, err := b.Referrers.List(t.Context(), to, index.Digest)
		if err != nil || len(list) != 1 || list[0].Digest != referrers[0] || list[0].ArtifactType != pipelinetest.SBOMType || list[0].Annotations["org.example.kind"] != "sbom" {
			t.Errorf("referrers are %v, %v", list, err)
		}
		if desc, err := b.Manifests.Stat(t.Context(), to, registry.Ref{Tag: tag}); err != nil || desc.Digest != referrers[2] {
			t.Errorf("the signature's tag leads to %v, %v", desc.Digest, err)
		}
	}
}

// A failing backend refuses the manifest of one digest.
type refusing struct {
	registry.Manifests
	refuses digest.Digest
}

func (r refusing) Put(ctx context.Context, repository string, m registry.Manifest, tags []string) error {
	if m.Desc.Digest == r.refuses {
		return errors.New("the disk is full")
	}
	return r.Manifests.Put(ctx, repository, m, tags)
}

func TestFailedRunShowsNoTagAndNoReferrer(t *testing.T) {
	t.Parallel()
	s, index, referrers, tag := signed(t)
	r := pipelinetest.NewRegistry()
	b := r.Backend()
	b.Manifests = refusing{b.Manifests, referrers[0]}
	if _, err := pipeline.Run(t.Context(), s.Source(index, appName), nil, registry.NewSink(b, "team/app", []string{"1"}), everything()); err == nil {
		t.Fatal("a manifest was refused, and the run succeeded")
	}
	for _, name := range []string{"1", tag} {
		if _, err := b.Manifests.Stat(t.Context(), "team/app", registry.Ref{Tag: name}); !errors.Is(err, pipeline.ErrNotFound) {
			t.Errorf("tag %s: %v", name, err)
		}
	}
	if list, err := b.Referrers.List(t.Context(), "team/app", index.Digest); err != nil || len(list) > 0 {
		t.Errorf("referrers are %v, %v", list, err)
	}
	if n := r.Uploading(); n > 0 {
		t.Errorf("%d uploads are left", n)
	}
}

func TestSinkWithoutTagsIsReadByDigest(t *testing.T) {
	t.Parallel()
	s, index, _, _ := signed(t)
	b := pipelinetest.NewRegistry().Backend()
	if _, err := pipeline.Run(t.Context(), s.Source(index, appName), nil, registry.NewSink(b, "team/app", nil), everything()); err != nil {
		t.Fatal(err)
	}
	back := registry.NewSource(b, "team/app", registry.Ref{Digest: index.Digest}, []string{appName})
	all, err := pipeline.ReadManifests(t.Context(), back, everything().Query)
	if err != nil || len(all) != 6 {
		t.Errorf("%d manifests came back, %v", len(all), err)
	}
	tags, err := b.Tags.List(t.Context(), "team/app", "", 10)
	if err != nil || len(tags) != 1 { // the signature's
		t.Errorf("tags are %q, %v", tags, err)
	}
}

// moved counts what is uploaded, and adopts what it is told that others have.
type moved struct {
	registry.Blobs
	registry.Uploads
	began   int
	adopted []string
}

func (m *moved) Begin(ctx context.Context, repository, id string) (registry.Upload, error) {
	m.began++
	return m.Uploads.Begin(ctx, repository, id)
}

func (m *moved) Adopt(ctx context.Context, repository, origin string, d digest.Digest) error {
	m.adopted = append(m.adopted, origin)
	return m.Mount(ctx, repository, strings.TrimPrefix(origin, "elsewhere/"), d)
}

func TestSinkTakesLayersFromNeighbours(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		place   string // where the source's layers lie
		began   int
		adopted int
	}{{"here", 1, 0}, {"elsewhere", 1, 1}, {"", 2, 0}} {
		s := pipelinetest.NewStore()
		image := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "f"})}})
		b := pipelinetest.NewRegistry().Backend()
		if _, err := pipeline.Run(t.Context(), s.Source(image), nil, registry.NewSink(b, "team/app", []string{"1"}), pipeline.Options{}); err != nil {
			t.Fatal(err)
		}
		from, count := b, &moved{Blobs: b.Blobs, Uploads: b.Uploads}
		from.Place = c.place
		b.Place, b.Blobs, b.Uploads = "here", count, count
		if _, err := pipeline.Run(t.Context(), registry.NewSource(from, "team/app", appTag, nil), nil, registry.NewSink(b, "other", []string{"1"}), pipeline.Options{}); err != nil {
			t.Fatal(err)
		}
		if count.began != c.began || len(count.adopted) != c.adopted {
			t.Errorf("from %q: %d uploads began, %v were adopted", c.place, count.began, count.adopted)
		}
	}
}

func TestSinkVerifiesWhatIsCommitted(t *testing.T) {
	t.Parallel()
	r := pipelinetest.NewRegistry()
	sink := registry.NewSink(r.Backend(), "team/app", nil)
	content := []byte("content")
	size := int64(len(content))
	for _, c := range []struct {
		blob ocispec.Descriptor
		is   error
	}{
		{ocispec.Descriptor{Digest: digest.FromBytes(content), Size: size}, nil},
		{ocispec.Descriptor{Digest: digest.SHA512.FromBytes(content), Size: size}, nil},
		{ocispec.Descriptor{Digest: digest.FromString("other"), Size: size}, pipeline.ErrDigest},
		{ocispec.Descriptor{Digest: digest.FromBytes(content), Size: size + 1}, pipeline.ErrDigest},
	} {
		w, err := sink.Layer(t.Context(), 0, pipeline.Layer{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(t.Context(), c.blob, ""); !errors.Is(err, c.is) {
			t.Errorf("%v: %v", c.blob, err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if held, _ := r.Backend().Blobs.Stat(t.Context(), "team/app", c.blob.Digest); c.is != nil && c.blob.Digest == digest.FromString("other") && held > 0 {
			t.Error("other bytes are stored under a digest")
		}
	}
	if _, err := sink.Layer(t.Context(), 0, pipeline.Layer{}); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil || r.Uploading() > 0 {
		t.Errorf("after Close %d uploads are left, %v", r.Uploading(), err)
	}
}

// A manifest is not stored before what it names.
func TestSinkRefusesManifestsWithHoles(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := s.Image(t, pipelinetest.Image{Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "f"})}})
	b := pipelinetest.NewRegistry().Backend()
	sink := registry.NewSink(b, "team/app", []string{"1"})
	if err := sink.Commit(t.Context(), pipeline.Manifest{Desc: image, Raw: s.Bytes(image.Digest)}); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("a child without its blobs: %v", err)
	}
	wrong := image
	wrong.Digest = digest.FromString("other")
	if err := sink.Commit(t.Context(), pipeline.Manifest{Desc: wrong, Raw: s.Bytes(image.Digest)}); !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("bytes of another digest: %v", err)
	}
	if _, err := b.Manifests.Stat(t.Context(), "team/app", registry.Ref{Digest: image.Digest}); !errors.Is(err, pipeline.ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
}

// Foresee asks, and changes nothing.
func TestSinkForesees(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	image := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "f"})}})
	b := pipelinetest.NewRegistry().Backend()
	b.Place = "here"
	for _, c := range []struct {
		to  string
		how []pipeline.How
	}{{"a", []pipeline.How{pipeline.HowCopied}}, {"a", []pipeline.How{pipeline.HowHeld}}} {
		f, err := pipeline.Foresee(t.Context(), s.Source(image), nil, registry.NewSink(b, c.to, []string{"1"}), pipeline.Options{})
		if err != nil || f.Unasked {
			t.Fatalf("unasked %v, %v", f.Unasked, err)
		}
		var how []pipeline.How
		for _, l := range f.Layers {
			how = append(how, l.How)
		}
		if !slices.Equal(how, c.how) {
			t.Errorf("%v; want %v", how, c.how)
		}
		if _, err := pipeline.Run(t.Context(), s.Source(image), nil, registry.NewSink(b, c.to, []string{"1"}), pipeline.Options{}); err != nil {
			t.Fatal(err)
		}
	}
}
