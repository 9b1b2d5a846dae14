package pipeline

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Manifests are the manifests of a graph, children before parents, without
// opening a layer.
func Manifests(ctx context.Context, graph Graph) ([]Manifest, error) {
	for _, err := range graph.Layers(ctx) {
		if err != nil {
			return nil, on(SourceSide, err)
		}
	}
	var out []Manifest
	for m, err := range graph.Manifests(ctx) {
		if err != nil {
			return nil, on(SourceSide, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// NamesOf are the names of manifests: their own and those of the indexes that
// list them. An index that cannot be read lists none.
func NamesOf(manifests []Manifest) map[digest.Digest][]string {
	names, err := namesOf(manifests)
	if err != nil {
		names = map[digest.Digest][]string{}
		for _, m := range manifests {
			names[m.Desc.Digest] = m.Names
		}
	}
	return names
}

// IsImage says whether a manifest is that of an image, and not of an index, an
// attestation or another artifact.
func IsImage(m Manifest) bool {
	if IsIndex(m.Desc.MediaType) {
		return false
	}
	im, err := parseManifest(m.Desc, m.Raw)
	if err != nil {
		return false
	}
	_, image, _ := readImageConfig(im, m.Config)
	return image
}

// AttestationOf returns the digest of the image that an entry of an index
// attests, as BuildKit ties them together.
func AttestationOf(desc ocispec.Descriptor) (digest.Digest, bool) { return attestationOf(desc) }
