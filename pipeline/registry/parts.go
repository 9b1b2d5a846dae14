package registry

import (
	"context"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// maxMissing is how many digests an error names.
const maxMissing = 100

// lacks lists what a manifest names and its repository does not have. Its subject
// need not be there, nor layers that live elsewhere.
func (b Backend) lacks(ctx context.Context, repository string, m Manifest) (missing []digest.Digest, err error) {
	if b.Sparse {
		return nil, nil
	}
	seen := map[digest.Digest]bool{}
	check := func(d ocispec.Descriptor, there func() error) error {
		if seen[d.Digest] || elsewhere(d) || len(missing) == maxMissing {
			return nil
		}
		seen[d.Digest] = true
		err := there()
		if IsMissing(err) {
			missing = append(missing, d.Digest)
			return nil
		}
		return err
	}
	blob := func(d ocispec.Descriptor) error {
		_, err := b.Blobs.Stat(ctx, repository, d.Digest)
		return err
	}
	for _, d := range m.Blobs {
		if err := check(d, func() error { return blob(d) }); err != nil {
			return nil, err
		}
	}
	for _, d := range m.Entries {
		if err := check(d, func() error {
			_, err := b.Manifests.Stat(ctx, repository, Ref{Digest: d.Digest})
			if IsMissing(err) && !pipeline.IsIndex(d.MediaType) && !pipeline.IsManifest(d.MediaType) {
				return blob(d) // BuildKit lists the blobs of a cache in an index
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	return missing, nil
}
