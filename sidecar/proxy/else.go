package proxy

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/push"
)

// orElse reads names that nobody has pushed at the default upstream, if there is
// one.
//
// A blob is looked for there only by who reads it: a client that pushes asks whether
// it is here to find out what it need not send.
func orElse(g *generation, b registry.Backend) registry.Backend {
	if g.config.Upstream == "" {
		return b
	}
	e := elsewhere{g}
	b.Blobs = elseBlobs{b.Blobs, e}
	b.Manifests = elseManifests{b.Manifests, e}
	b.Tags = elseTags{b.Tags, e}
	if b.Referrers != nil {
		b.Referrers = elseReferrers{b.Referrers, e}
	}
	return b
}

type elsewhere struct{ g *generation }

// at is where a repository is read instead.
func (e elsewhere) at(repository string) (registry.Backend, string) {
	place := e.g.table.Else(repository)
	return e.g.pull.Backend(place.Upstream), place.Repository
}

type elseBlobs struct {
	registry.Blobs
	elsewhere
}

func (b elseBlobs) Stat(ctx context.Context, repository string, d digest.Digest) (int64, error) {
	size, err := b.Blobs.Stat(ctx, repository, d)
	if push.IsMissing(err) && registry.Reads(ctx) {
		there, name := b.at(repository)
		return there.Blobs.Stat(ctx, name, d)
	}
	return size, err
}

func (b elseBlobs) Open(ctx context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	rc, err := b.Blobs.Open(ctx, repository, d, offset)
	if push.IsMissing(err) {
		there, name := b.at(repository)
		return there.Blobs.Open(ctx, name, d, offset)
	}
	return rc, err
}

type elseManifests struct {
	registry.Manifests
	elsewhere
}

func (m elseManifests) Stat(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, error) {
	desc, err := m.Manifests.Stat(ctx, repository, ref)
	if push.IsMissing(err) {
		there, name := m.at(repository)
		return there.Manifests.Stat(ctx, name, ref)
	}
	return desc, err
}

func (m elseManifests) Get(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	desc, raw, err := m.Manifests.Get(ctx, repository, ref)
	if push.IsMissing(err) {
		there, name := m.at(repository)
		return there.Manifests.Get(ctx, name, ref)
	}
	return desc, raw, err
}

type elseTags struct {
	registry.Tags
	elsewhere
}

func (t elseTags) List(ctx context.Context, repository, last string, n int) ([]string, error) {
	tags, err := t.Tags.List(ctx, repository, last, n)
	if push.IsMissing(err) {
		there, name := t.at(repository)
		return there.Tags.List(ctx, name, last, n)
	}
	return tags, err
}

type elseReferrers struct {
	registry.Referrers
	elsewhere
}

func (r elseReferrers) List(ctx context.Context, repository string, subject digest.Digest) ([]ocispec.Descriptor, error) {
	list, err := r.Referrers.List(ctx, repository, subject)
	if len(list) == 0 && (err == nil || push.IsMissing(err)) {
		there, name := r.at(repository)
		return there.Referrers.List(ctx, name, subject)
	}
	return list, err
}
