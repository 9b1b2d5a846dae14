package pipeline

import (
	"maps"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
)

// ReferrerEntries are what the index of an OCI layout has to say of the referrers
// among manifests, so that they are found there: one for each, with its
// annotations and type; and one for each tag of cosign's.
func ReferrerEntries(manifests []Manifest) (out []ocispec.Descriptor, err error) {
	listed := map[digest.Digest]bool{} // by an index that is among them
	for _, m := range manifests {
		if !IsIndex(m.Desc.MediaType) {
			continue
		}
		children, err := parseIndex(m.Desc, m.Raw)
		if err != nil {
			return nil, err
		}
		for _, c := range children {
			listed[c.Digest] = true
		}
	}
	for _, m := range manifests {
		if m.Refers == nil || listed[m.Desc.Digest] {
			continue
		}
		untagged := false
		for _, of := range m.Refers {
			if of.Tag == "" && untagged {
				continue
			}
			untagged = untagged || of.Tag == ""
			out = append(out, m.referrerEntry(of.Tag))
		}
	}
	return out, nil
}

func (m Manifest) referrerEntry(tag string) ocispec.Descriptor {
	e := ocispec.Descriptor{
		MediaType: m.Desc.MediaType, Digest: m.Desc.Digest, Size: m.Desc.Size,
		Platform: m.Desc.Platform, ArtifactType: m.Desc.ArtifactType, Annotations: map[string]string{},
	}
	maps.Copy(e.Annotations, m.Desc.Annotations)
	delete(e.Annotations, ocilayout.AnnotationImageName) // they would make an image of it
	delete(e.Annotations, ocispec.AnnotationRefName)
	if tag != "" {
		e.Annotations[ocispec.AnnotationRefName] = tag
	}
	return e
}
