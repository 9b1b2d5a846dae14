package view

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// referrers are what the engine has of what refers to its images.
type referrers struct{ shelves }

var _ registry.Referrers = referrers{}

// List asks all images of the repository: what refers to one may be kept with it, or
// stand under a name of its own. One that cannot be read as what it says is left out,
// as is one that is deleted meanwhile.
func (r referrers) List(ctx context.Context, repository string, subject digest.Digest) (list []ocispec.Descriptor, err error) {
	images, err := r.images(ctx, repository)
	if err != nil {
		return nil, err
	}
	seen := map[digest.Digest]bool{}
	for _, f := range images {
		found, err := f.in.Referrers(ctx, f.image, subject)
		if err != nil && !errors.Is(err, pipeline.ErrNotFound) {
			return nil, err
		}
		for _, d := range found {
			if seen[d.Digest] {
				continue
			}
			seen[d.Digest] = true
			_, raw, err := f.in.Manifest(d.Digest)
			if errors.Is(err, pipeline.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if m, err := registry.ParseManifest(d.MediaType, raw, d.Digest.Algorithm()); err == nil {
				list = append(list, m.Desc)
			}
		}
	}
	return list, nil
}
