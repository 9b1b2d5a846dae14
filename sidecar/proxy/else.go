package proxy

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// orElse reads names that nobody has pushed at the default upstream, if there is
// one.
//
// A blob is looked for there only by who reads it: a client that pushes asks whether
// it is here to find out what it need not send. Manifests are asked for alike by both;
// so what one was told is there is fetched when an index lists it, and that the upstream
// does not answer is no answer to a push (elseManifests).
func orElse(g *generation, b registry.Backend, tempDir string) registry.Backend {
	if g.config.Upstream == "" {
		return b
	}
	e := elsewhere{g, b, tempDir}
	b.Blobs = elseBlobs{b.Blobs, e}
	b.Manifests = elseManifests{b.Manifests, e}
	b.Tags = elseTags{b.Tags, e}
	if b.Referrers != nil {
		b.Referrers = elseReferrers{b.Referrers, e}
	}
	return b
}

type elsewhere struct {
	g       *generation
	here    registry.Backend
	tempDir string
}

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
	if registry.IsMissing(err) && registry.Reads(ctx) {
		there, name := b.at(repository)
		return there.Blobs.Stat(ctx, name, d)
	}
	return size, err
}

func (b elseBlobs) Open(ctx context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	rc, err := b.Blobs.Open(ctx, repository, d, offset)
	if registry.IsMissing(err) {
		there, name := b.at(repository)
		return there.Blobs.Open(ctx, name, d, offset)
	}
	return rc, err
}

type elseManifests struct {
	registry.Manifests
	elsewhere
}

// Stat says of what the upstream does not tell that it is not there: containerd's pusher
// takes any other answer for the end of the push. Who reads learns by Get why.
func (m elseManifests) Stat(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, error) {
	desc, err := m.Manifests.Stat(ctx, repository, ref)
	if registry.IsMissing(err) {
		there, name := m.at(repository)
		if desc, failed := there.Manifests.Stat(ctx, name, ref); failed == nil || ctx.Err() != nil {
			return desc, failed
		}
	}
	return desc, err
}

func (m elseManifests) Get(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	desc, raw, err := m.Manifests.Get(ctx, repository, ref)
	if registry.IsMissing(err) {
		there, name := m.at(repository)
		return there.Manifests.Get(ctx, name, ref)
	}
	return desc, raw, err
}

// Put has what an index lists come here first, where only the upstream has it.
func (m elseManifests) Put(ctx context.Context, repository string, man registry.Manifest, tags []string) error {
	for _, e := range man.Entries {
		if !pipeline.IsManifest(e.MediaType) && !pipeline.IsIndex(e.MediaType) {
			continue
		}
		if _, err := m.Manifests.Stat(ctx, repository, registry.Ref{Digest: e.Digest}); !registry.IsMissing(err) {
			continue
		}
		if err := m.fetch(ctx, repository, e.Digest); err != nil {
			return fmt.Errorf("fetch %s, which an index lists: %w", e.Digest, err)
		}
	}
	return m.Manifests.Put(ctx, repository, man, tags)
}

// fetch puts an image of the upstream here, by its digest.
func (m elseManifests) fetch(ctx context.Context, repository string, d digest.Digest) error {
	there, name := m.at(repository)
	_, err := pipeline.Run(ctx, registry.NewSource(there, name, registry.Ref{Digest: d}, nil), nil, registry.NewSink(m.here, repository, nil), pipeline.Options{
		Query:    pipeline.Query{Platforms: pipeline.Platforms{All: true}},
		Parallel: m.g.config.Parallel, Retries: retries, TempDir: m.tempDir,
	})
	return err
}

type elseTags struct {
	registry.Tags
	elsewhere
}

func (t elseTags) List(ctx context.Context, repository, last string, n int) ([]string, error) {
	tags, err := t.Tags.List(ctx, repository, last, n)
	if registry.IsMissing(err) {
		there, name := t.at(repository)
		return there.Tags.List(ctx, name, last, n)
	}
	return tags, err
}

type elseReferrers struct {
	registry.Referrers
	elsewhere
}

// List asks the upstream where nothing here refers to the subject. Of what was pushed it
// need not answer.
func (r elseReferrers) List(ctx context.Context, repository string, subject digest.Digest) ([]ocispec.Descriptor, error) {
	list, err := r.Referrers.List(ctx, repository, subject)
	if len(list) > 0 || err != nil && !registry.IsMissing(err) {
		return list, err
	}
	there, name := r.at(repository)
	theirs, failed := there.Referrers.List(ctx, name, subject)
	if failed != nil {
		if _, err := r.here.Manifests.Stat(ctx, repository, registry.Ref{Digest: subject}); err == nil {
			return nil, nil
		}
	}
	return theirs, failed
}
