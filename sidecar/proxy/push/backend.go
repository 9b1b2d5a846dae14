package push

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// Backend is what a registry.Handler serves for names that can be pushed. It reads
// what was just pushed by its digest, and what is kept.
func (p *Push) Backend() registry.Backend {
	return registry.Backend{
		Blobs: blobs{p}, Uploads: uploads{p}, Manifests: manifests{p}, Tags: tags{p}, Referrers: referrers{p},
	}
}

// blobs are those of staging, of the keeper, and those that need not be sent.
type blobs struct{ p *Push }

var _ registry.Blobs = blobs{}

// Stat answers for all blobs that a manifest may name without their being sent.
func (b blobs) Stat(ctx context.Context, repository string, d digest.Digest) (int64, error) {
	size, err := b.p.cfg.Staging.Blobs.Stat(ctx, repository, d)
	if !registry.IsMissing(err) {
		return size, err
	}
	size, err = b.p.cfg.Keeper.Backend().Blobs.Stat(ctx, repository, d)
	if !registry.IsMissing(err) {
		return size, answer(err)
	}
	if size, ok, serr := b.settled(ctx, repository, d, ""); ok || serr != nil {
		return size, answer(serr)
	}
	return 0, err
}

// settled says whether the keeper holds what filters make of a blob. Origin is where
// that may be mounted from.
func (b blobs) settled(ctx context.Context, repository string, d digest.Digest, origin string) (size int64, ok bool, err error) {
	rule := b.p.cfg.Rules.For(repository)
	filters, err := rule.Filters()
	if err != nil {
		return 0, false, err
	}
	dst, err := b.p.cfg.Keeper.Sink(ctx, repository, nil)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = dst.Close() }()
	l := pipeline.Layer{Blob: ocispec.Descriptor{Digest: d}, Origin: origin}
	return pipeline.Settled(ctx, l, filters, dst, b.p.options(rule))
}

// Open reads from staging, else what is kept.
func (b blobs) Open(ctx context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	rc, err := b.p.cfg.Staging.Blobs.Open(ctx, repository, d, offset)
	if !registry.IsMissing(err) {
		return rc, err
	}
	rc, err = b.p.cfg.Keeper.Backend().Blobs.Open(ctx, repository, d, offset)
	return rc, answer(err)
}

// Mount finds a blob in another repository: its bytes in staging, or what they became
// at the keeper.
func (b blobs) Mount(ctx context.Context, repository, from string, d digest.Digest) error {
	err := b.p.cfg.Staging.Blobs.Mount(ctx, repository, from, d)
	if !registry.IsMissing(err) || from == "" || from == repository {
		return err
	}
	origin, oerr := b.origin(ctx, from)
	if oerr != nil || origin == "" {
		return err // the client sends it
	}
	if b.p.cfg.Rules.For(repository).Plain() {
		return b.mountKept(ctx, repository, origin, d)
	}
	if _, serr := b.Stat(ctx, from, d); serr != nil {
		return err
	}
	if _, ok, _ := b.settled(ctx, repository, d, origin); ok {
		return nil
	}
	return err
}

// origin is how the keeper names one of its repositories (pipeline.Layer.Origin).
func (b blobs) origin(ctx context.Context, repository string) (string, error) {
	s, err := b.p.cfg.Keeper.Sink(ctx, repository, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	if placed, ok := s.(pipeline.Placed); ok {
		return placed.Place(), nil
	}
	return "", nil
}

// mountKept has the keeper take a blob from another of its repositories.
func (b blobs) mountKept(ctx context.Context, repository, origin string, d digest.Digest) error {
	s, err := b.p.cfg.Keeper.Sink(ctx, repository, nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	plan, err := s.Plan(ctx, pipeline.Layer{Blob: ocispec.Descriptor{Digest: d}, Origin: origin, Role: pipeline.Opaque})
	if err == nil && !plan.Held {
		err = pipeline.ErrNotFound
	}
	return answer(err)
}

// Delete removes a blob where it is kept, and from staging. What is on its way arrives
// first, so that it does not come after.
func (b blobs) Delete(ctx context.Context, repository string, d digest.Digest) error {
	if _, err := b.p.settle(ctx, repository, []digest.Digest{d}); err != nil {
		return err
	}
	return both(
		b.p.cfg.Keeper.Backend().Blobs.Delete(ctx, repository, d),
		func() error { return b.p.cfg.Staging.Blobs.Delete(ctx, repository, d) },
	)
}

// both removes something in two places: it was in one of them, or is not there. What
// the keeper does not do is not done in staging either.
func both(kept error, staged func() error) error {
	if kept != nil && !registry.IsMissing(kept) {
		return undeleted(kept)
	}
	if err := staged(); !registry.IsMissing(err) {
		return err
	}
	return kept
}

// undeleted says why the keeper does not delete something: a registry downstream is not
// the proxy's to clear, others may pull from there.
func undeleted(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return &registry.Error{Code: registry.Unsupported, Message: "what is pushed here is kept in the registry downstream, where this proxy deletes nothing; delete it there"}
	}
	return answer(err)
}

// tags are those that are kept.
type tags struct{ p *Push }

var _ registry.Tags = tags{}

// List lists them.
func (t tags) List(ctx context.Context, repository, last string, n int) ([]string, error) {
	list, err := t.p.cfg.Keeper.Backend().Tags.List(ctx, repository, last, n)
	return list, answer(err)
}

// Delete removes one.
func (t tags) Delete(ctx context.Context, repository, tag string) error {
	return undeleted(t.p.cfg.Keeper.Backend().Tags.Delete(ctx, repository, tag))
}

// referrers are those that were just pushed, by the digests that were sent, and those
// that are kept.
type referrers struct{ p *Push }

var _ registry.Referrers = referrers{}

// List asks both; one that is in both is listed once.
func (r referrers) List(ctx context.Context, repository string, subject digest.Digest) (out []ocispec.Descriptor, err error) {
	seen := map[digest.Digest]bool{}
	for _, b := range []registry.Backend{r.p.cfg.Staging, r.p.cfg.Keeper.Backend()} {
		if b.Referrers == nil {
			continue
		}
		list, err := b.Referrers.List(ctx, repository, subject)
		if err != nil && !registry.IsMissing(err) {
			return nil, answer(err)
		}
		for _, d := range list {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				out = append(out, d)
			}
		}
	}
	return out, nil
}
