package pipelinetest

import (
	"bytes"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// manifest makes a manifest of an artifact without content of its own.
func (b *backend) manifest(note string, subject *ocispec.Descriptor) registry.Manifest {
	b.t.Helper()
	s := NewStore()
	desc := s.PutJSON(b.t, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/x-note",
		Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{}, Subject: subject, Annotations: map[string]string{"note": note},
	})
	m, err := registry.ParseManifest(desc.MediaType, s.Bytes(desc.Digest), digest.SHA256)
	b.must(err)
	return m
}

// put pushes the config of all these manifests, and one of them.
func (b *backend) put(repository string, m registry.Manifest, tags ...string) {
	b.t.Helper()
	if _, err := b.Blobs.Stat(b.ctx(), repository, ocispec.DescriptorEmptyJSON.Digest); err != nil {
		b.push(repository, ocispec.DescriptorEmptyJSON.Data)
	}
	b.must(b.Manifests.Put(b.ctx(), repository, m, tags))
}

// found complains unless a name leads to the manifest.
func (b *backend) found(ref registry.Ref, m registry.Manifest) {
	b.t.Helper()
	stat, err := b.Manifests.Stat(b.ctx(), repoA, ref)
	b.must(err)
	got, raw, err := b.Manifests.Get(b.ctx(), repoA, ref)
	b.must(err)
	for _, d := range []ocispec.Descriptor{stat, got} {
		if d.Digest != m.Desc.Digest || d.MediaType != m.Desc.MediaType || d.Size != m.Desc.Size {
			b.t.Errorf("%s is %v; want %v", ref, d, m.Desc)
		}
	}
	if !bytes.Equal(raw, m.Raw) {
		b.t.Errorf("%s has other bytes than were put", ref)
	}
}

func (b *backend) gone(ref registry.Ref) {
	b.t.Helper()
	_, err := b.Manifests.Stat(b.ctx(), repoA, ref)
	b.missing("Stat "+ref.String(), err)
	_, _, err = b.Manifests.Get(b.ctx(), repoA, ref)
	b.missing("Get "+ref.String(), err)
}

func (b *backend) manifests() {
	m := b.manifest("one", nil)
	b.gone(registry.Ref{Digest: m.Desc.Digest})
	b.put(repoA, m, "1", "latest")
	for _, ref := range []registry.Ref{{Tag: "1"}, {Tag: "latest"}, {Digest: m.Desc.Digest}} {
		b.found(ref, m)
	}
	b.gone(registry.Ref{Tag: "2"})
	_, err := b.Manifests.Stat(b.ctx(), repoB, registry.Ref{Digest: m.Desc.Digest})
	b.missing("Stat elsewhere", err)
	b.must(b.Manifests.Delete(b.ctx(), repoA, m.Desc.Digest))
	for _, ref := range []registry.Ref{{Tag: "1"}, {Tag: "latest"}, {Digest: m.Desc.Digest}} {
		b.gone(ref)
	}
	b.missing("Delete twice", b.Manifests.Delete(b.ctx(), repoA, m.Desc.Digest))
}

func (b *backend) tags() {
	one, two := b.manifest("one", nil), b.manifest("two", nil)
	b.put(repoA, one, "1")
	b.put(repoA, two, "1")
	b.found(registry.Ref{Tag: "1"}, two)
	b.found(registry.Ref{Digest: one.Desc.Digest}, one)
	b.must(b.Tags.Delete(b.ctx(), repoA, "1"))
	b.gone(registry.Ref{Tag: "1"})
	b.found(registry.Ref{Digest: two.Desc.Digest}, two)
	b.missing("Delete twice", b.Tags.Delete(b.ctx(), repoA, "1"))
}

func (b *backend) tagList() {
	_, err := b.Tags.List(b.ctx(), repoA, "", 10)
	b.missing("List of no repository", err)
	b.put(repoA, b.manifest("one", nil))
	if tags, err := b.Tags.List(b.ctx(), repoA, "", 10); err != nil || len(tags) > 0 {
		b.t.Errorf("a repository without tags has %q, %v", tags, err)
	}
	b.put(repoA, b.manifest("one", nil), "b", "a", "B", "_", "10", "9")
	for _, c := range []struct {
		last string
		n    int
		want []string
	}{
		{"", 10, []string{"10", "9", "B", "_", "a", "b"}},
		{"", 2, []string{"10", "9"}},
		{"9", 2, []string{"B", "_"}},
		{"C", 10, []string{"_", "a", "b"}}, // which is no tag of it
		{"b", 10, nil},
	} {
		got, err := b.Tags.List(b.ctx(), repoA, c.last, c.n)
		if err != nil || !slices.Equal(got, c.want) {
			b.t.Errorf("the first %d after %q are %q, %v; want %q", c.n, c.last, got, err, c.want)
		}
	}
}

func (b *backend) referrers() {
	if b.Referrers == nil {
		b.t.Skip("the backend lists no referrers")
	}
	subject := b.manifest("subject", nil)
	about := b.manifest("about", &subject.Desc)
	b.put(repoA, about) // before its subject
	b.put(repoB, b.manifest("elsewhere", &subject.Desc))
	list, err := b.Referrers.List(b.ctx(), repoA, subject.Desc.Digest)
	b.must(err)
	if diff := cmp.Diff([]ocispec.Descriptor{about.Desc}, list); diff != "" {
		b.t.Errorf("referrers (-want +got):\n%s", diff)
	}
	b.must(b.Manifests.Delete(b.ctx(), repoA, about.Desc.Digest))
	if list, err = b.Referrers.List(b.ctx(), repoA, subject.Desc.Digest); err != nil || len(list) > 0 {
		b.t.Errorf("after Delete: %v, %v", list, err)
	}
}
