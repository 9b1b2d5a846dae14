package pipeline

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ReadManifests reads the manifests that src names, children before parents, and
// opens no layer.
func ReadManifests(ctx context.Context, src Source, q Query) (out []Manifest, err error) {
	q.Brief = true
	graph, err := src.Open(ctx, q)
	if err != nil {
		return nil, on(SourceSide, err)
	}
	defer func() { err = errors.Join(err, on(SourceSide, graph.Close())) }()
	for _, err := range graph.Layers(ctx) {
		if err != nil {
			return nil, on(SourceSide, err)
		}
	}
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
