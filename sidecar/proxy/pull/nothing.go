package pull

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// readOnly is embedded in what can only be read.
type readOnly struct{}

func (readOnly) Mount(context.Context, string, string, digest.Digest) error {
	return errors.ErrUnsupported
}

func (readOnly) Delete(context.Context, string, digest.Digest) error { return errors.ErrUnsupported }

func (readOnly) Put(context.Context, string, registry.Manifest, []string) error {
	return errors.ErrUnsupported
}

// nothing are the blobs of an upstream that is not configured.
type nothing struct{ readOnly }

var _ registry.Blobs = nothing{}

func (nothing) Stat(_ context.Context, repository string, _ digest.Digest) (int64, error) {
	return 0, missing(repository)
}

func (nothing) Open(_ context.Context, repository string, _ digest.Digest, _ int64) (io.ReadCloser, error) {
	return nil, missing(repository)
}

type nothingManifests struct{ readOnly }

var _ registry.Manifests = nothingManifests{}

func (nothingManifests) Stat(_ context.Context, repository string, _ registry.Ref) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, missing(repository)
}

func (nothingManifests) Get(_ context.Context, repository string, _ registry.Ref) (ocispec.Descriptor, []byte, error) {
	return ocispec.Descriptor{}, nil, missing(repository)
}

type nothingTags struct{}

var _ registry.Tags = nothingTags{}

func (nothingTags) List(_ context.Context, repository, _ string, _ int) ([]string, error) {
	return nil, missing(repository)
}

func (nothingTags) Delete(context.Context, string, string) error { return errors.ErrUnsupported }

type nothingReferrers struct{}

var _ registry.Referrers = nothingReferrers{}

func (nothingReferrers) List(context.Context, string, digest.Digest) ([]ocispec.Descriptor, error) {
	return nil, nil
}
