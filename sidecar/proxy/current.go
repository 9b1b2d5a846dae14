package proxy

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// current is what names that can be pushed lead to: the backend of the generation
// that a request belongs to. The handler before it stays, with what it knows of
// uploads.
var current = registry.Backend{Blobs: blobs{}, Uploads: uploads{}, Manifests: manifests{}, Tags: tags{}, Referrers: referrers{}}

type (
	blobs     struct{}
	uploads   struct{}
	manifests struct{}
	tags      struct{}
	referrers struct{}
)

// of is the generation of a request.
func of(ctx context.Context) registry.Backend {
	g, _ := ctx.Value(belongs{}).(*generation) // ServeHTTP has set it
	if ctx.Value(itself{}) != nil {
		return g.itself
	}
	return g.backend
}

func (blobs) Stat(ctx context.Context, repository string, d digest.Digest) (int64, error) {
	return of(ctx).Blobs.Stat(ctx, repository, d)
}

func (blobs) Open(ctx context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	return of(ctx).Blobs.Open(ctx, repository, d, offset)
}

func (blobs) Mount(ctx context.Context, repository, from string, d digest.Digest) error {
	return of(ctx).Blobs.Mount(ctx, repository, from, d)
}

func (blobs) Delete(ctx context.Context, repository string, d digest.Digest) error {
	return of(ctx).Blobs.Delete(ctx, repository, d)
}

func (uploads) Begin(ctx context.Context, repository, id string) (registry.Upload, error) {
	return of(ctx).Uploads.Begin(ctx, repository, id)
}

func (uploads) Resume(ctx context.Context, repository, id string) (registry.Upload, error) {
	return of(ctx).Uploads.Resume(ctx, repository, id)
}

func (uploads) Cancel(ctx context.Context, repository, id string) error {
	return of(ctx).Uploads.Cancel(ctx, repository, id)
}

func (manifests) Stat(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, error) {
	return of(ctx).Manifests.Stat(ctx, repository, ref)
}

func (manifests) Get(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	return of(ctx).Manifests.Get(ctx, repository, ref)
}

func (manifests) Put(ctx context.Context, repository string, m registry.Manifest, tags []string) error {
	return of(ctx).Manifests.Put(ctx, repository, m, tags)
}

func (manifests) Delete(ctx context.Context, repository string, d digest.Digest) error {
	return of(ctx).Manifests.Delete(ctx, repository, d)
}

func (tags) List(ctx context.Context, repository, last string, n int) ([]string, error) {
	return of(ctx).Tags.List(ctx, repository, last, n)
}

func (tags) Delete(ctx context.Context, repository, tag string) error {
	return of(ctx).Tags.Delete(ctx, repository, tag)
}

func (referrers) List(ctx context.Context, repository string, subject digest.Digest) ([]ocispec.Descriptor, error) {
	return of(ctx).Referrers.List(ctx, repository, subject)
}
