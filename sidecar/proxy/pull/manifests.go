package pull

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// manifests are the manifests of an upstream's repositories.
type manifests struct{ *upstream }

var _ registry.Manifests = (*manifests)(nil)

func (*manifests) Put(context.Context, string, registry.Manifest, []string) error {
	return errors.ErrUnsupported
}

func (*manifests) Delete(context.Context, string, digest.Digest) error { return errors.ErrUnsupported }

// A found is a manifest with its bytes. Raw is nil where only its description was
// asked for and is known.
type found struct {
	desc ocispec.Descriptor
	raw  []byte
	// below: it came from downstream, as a manifest.
	below bool
}

// Stat describes a manifest. One that is not here is asked for, not fetched, unless
// filters have a say in it.
func (m *manifests) Stat(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, error) {
	got, err := m.manifest(ctx, repository, ref, false)
	return got.desc, m.answer(err)
}

// Get returns a manifest.
func (m *manifests) Get(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	got, err := m.manifest(ctx, repository, ref, true)
	return got.desc, got.raw, m.answer(err)
}

// manifest finds a manifest by tag or digest; bytes says that its bytes are wanted.
func (u *upstream) manifest(ctx context.Context, repository string, ref registry.Ref, bytes bool) (found, error) {
	r, err := u.rule(repository)
	if err != nil {
		return found{}, err
	}
	if ref.Digest != "" {
		return u.byDigest(ctx, repository, ref.Digest, r, bytes)
	}
	return u.byTag(ctx, repository, ref.Tag, r, bytes)
}

// byDigest is the manifest that a client names by its digest.
func (u *upstream) byDigest(ctx context.Context, repository string, d digest.Digest, r *rule, bytes bool) (found, error) {
	key := "allowed/" + repository + "@" + d.String()
	now := u.p.c.Now()
	if desc, raw, ok := u.memo.get(key, now); ok {
		u.looked("manifest", true)
		return found{desc: desc, raw: raw}, nil
	}
	if r.made != nil {
		if got, err := get(ctx, r.made, repository, d); err == nil || !errors.Is(err, pipeline.ErrNotFound) {
			if err == nil {
				u.looked("manifest", true)
				u.memo.put(key, got.desc, got.raw, now)
			}
			return got, err
		}
	}
	if r.made == nil && !bytes {
		got, err := u.describe(ctx, repository, d)
		return got, err
	}
	got, err := u.exact(ctx, repository, ocispec.Descriptor{Digest: d}, nil, r)
	if err != nil {
		return found{}, err
	}
	if r.made != nil {
		if err := u.allowed(ctx, repository, got, r); err != nil {
			return found{}, err
		}
	} else {
		u.forward(repository, "", got)
	}
	u.memo.put(key, got.desc, got.raw, now)
	return got, nil
}

// describe says what a manifest is that nobody has to judge, without fetching it.
func (u *upstream) describe(ctx context.Context, repository string, d digest.Digest) (found, error) {
	desc, err := u.mirror.Backend().Manifests.Stat(ctx, repository, registry.Ref{Digest: d})
	if !errors.Is(err, pipeline.ErrNotFound) {
		u.looked("manifest", err == nil)
		return found{desc: desc}, err
	}
	u.looked("manifest", false)
	if k := u.p.c.Keeper; k != nil {
		desc, err := k.Backend().Manifests.Stat(ctx, u.below(repository), registry.Ref{Digest: d})
		if err == nil {
			return found{desc: desc}, nil
		}
		u.failed(sideDownstream, err)
	}
	desc, err = u.stat(ctx, repository, registry.Ref{Digest: d}, false)
	return found{desc: desc}, err
}

// exact are the very bytes of a manifest: from the mirror, downstream or upstream, in
// that order. What had to be fetched is kept, under tags if there are any, and told
// unless somebody judges it first. A nil rule is that of a judge.
func (u *upstream) exact(ctx context.Context, repository string, desc ocispec.Descriptor, tags []string, r *rule) (found, error) {
	key := "exact/" + repository + "@" + desc.Digest.String()
	if desc, raw, ok := u.memo.get(key, u.p.c.Now()); ok {
		u.looked("manifest", true)
		return found{desc: desc, raw: raw}, nil
	}
	got, err := get(ctx, u.mirror, repository, desc.Digest)
	switch {
	case err == nil:
		u.looked("manifest", true)
		u.memo.put(key, got.desc, got.raw, u.p.c.Now())
		return got, nil
	case !errors.Is(err, pipeline.ErrNotFound):
		return found{}, err
	}
	u.looked("manifest", false)
	got, err = shared(ctx, u, key, func(ctx context.Context) (found, error) {
		// It may have come since somebody looked in vain.
		if got, err := get(ctx, u.mirror, repository, desc.Digest); err == nil {
			return got, nil
		}
		began := u.p.c.Now()
		got, err := u.fetch(ctx, repository, registry.Ref{Digest: desc.Digest})
		if err != nil {
			return found{}, err
		}
		if got.below {
			u.forwarded(repository, got)
		}
		tags := u.tagsOf(ctx, repository, got.desc.Digest, tags)
		if r.passes(got.desc.MediaType) {
			u.mirrored(repository, tags, got, began)
		}
		return got, u.keep(ctx, u.mirror, repository, got, tags)
	})
	if err == nil {
		u.memo.put(key, got.desc, got.raw, u.p.c.Now())
	}
	return got, err
}

// fetch gets a manifest from downstream, where its digest is known, or upstream.
func (u *upstream) fetch(ctx context.Context, repository string, ref registry.Ref) (found, error) {
	if k := u.p.c.Keeper; k != nil && ref.Digest != "" {
		got, err := u.downstream(ctx, repository, ref.Digest)
		if err == nil {
			u.received(sideDownstream, int64(len(got.raw)))
			return got, nil
		}
		u.failed(sideDownstream, err)
	}
	what := "manifest/" + repository + "@" + ref.String()
	if err := u.refused(what); err != nil {
		return found{}, err
	}
	if err := u.ready(); err != nil {
		return found{}, err
	}
	desc, raw, err := u.remote(repository).Manifest(ctx, ref)
	if err != nil {
		u.refuse(what, err)
		u.failed(sideUpstream, err)
		return found{}, err
	}
	u.works()
	u.received(sideUpstream, int64(len(raw)))
	return found{desc: desc, raw: raw}, nil
}

// stat asks the upstream what a manifest is. kept: an answer is here in any case.
func (u *upstream) stat(ctx context.Context, repository string, ref registry.Ref, kept bool) (ocispec.Descriptor, error) {
	what := "manifest/" + repository + "@" + ref.String()
	if err := u.refused(what); err != nil {
		return ocispec.Descriptor{}, err
	}
	if u.Offline {
		return ocispec.Descriptor{}, missing("offline " + u.Host)
	}
	if wait, ok := u.mayAsk(kept); !ok {
		return ocispec.Descriptor{}, u.busy(wait)
	}
	if kept {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, checkTime)
		defer cancel()
	}
	desc, err := u.remote(repository).Stat(ctx, ref)
	if err != nil {
		u.refuse(what, err)
		u.failed(sideUpstream, err)
		return ocispec.Descriptor{}, err
	}
	u.works()
	return desc, nil
}

// get reads a manifest of a space by its digest.
func get(ctx context.Context, s Space, repository string, d digest.Digest) (found, error) {
	desc, raw, err := s.Backend().Manifests.Get(ctx, repository, registry.Ref{Digest: d})
	return found{desc: desc, raw: raw}, err
}

// keep puts a manifest whose digest was compared into a space. Its blobs come when
// somebody asks for them.
func (u *upstream) keep(ctx context.Context, s Space, repository string, got found, tags []string) error {
	m, err := registry.ParseManifest(got.desc.MediaType, got.raw, got.desc.Digest.Algorithm())
	if err != nil {
		return fmt.Errorf("manifest %s: %w", got.desc.Digest, err)
	}
	if m.Desc.Digest != got.desc.Digest {
		return pipeline.DigestError("manifest", got.desc.Digest, m.Desc.Digest)
	}
	u.learn(s, repository, m)
	if err := s.Backend().Manifests.Put(ctx, repository, m, tags); err != nil {
		u.warn("a manifest could not be kept", err)
	}
	return nil
}
