package pull

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

type descriptor = ocispec.Descriptor

// madeTag is what filters made of a manifest downstream: a tag that says which rule
// and which manifest, since the image's own tag does not. So other proxies with the
// same rule find it, and none with another.
func madeTag(rule string, of digest.Digest) string {
	return "occystrap-made-" + digest.FromString(rule + "\n" + of.String()).Encoded()[:40]
}

// lastTag is what filters made of a tag last. The tag itself may be what another rule made
// of it, or none.
func lastTag(rule, tag string) string {
	return "occystrap-last-" + digest.FromString(rule + "\n" + tag).Encoded()[:40]
}

// maxAdopted bounds the manifests of one index that are taken from downstream.
const maxAdopted = 1000

// adopt takes what another proxy made of a manifest from downstream: its manifests, at
// once, while blobs come when they are asked for. ErrNotFound: nobody made it.
func (u *upstream) adopt(ctx context.Context, repository, tag string, of digest.Digest, r *rule) (found, error) {
	k := u.p.c.Keeper
	if k == nil {
		return found{}, missing("downstream")
	}
	desc, raw, err := k.Backend().Manifests.Get(ctx, u.below(repository), registry.Ref{Tag: madeTag(r.Key(), of)})
	if err != nil {
		u.failed(sideDownstream, err)
		return found{}, missing("made of " + of.String()) // it can be made here
	}
	got := found{desc: desc, raw: raw}
	left := maxAdopted
	if err := u.adoptAll(ctx, repository, got, tagList(tag), r, &left); err != nil {
		u.failed(sideDownstream, err)
		return found{}, missing("made of " + of.String())
	}
	u.note1(ctx, r.made, repository, outcomeFact(of), outcome{Desc: plain(desc)})
	return got, nil
}

func (u *upstream) adoptAll(ctx context.Context, repository string, got found, tags []string, r *rule, left *int) error {
	if *left--; *left < 0 {
		return fmt.Errorf("an index downstream: %w", pipeline.ErrLimit)
	}
	m, err := registry.ParseManifest(got.desc.MediaType, got.raw, got.desc.Digest.Algorithm())
	if err != nil {
		return err
	}
	for _, e := range m.Entries {
		if !pipeline.IsIndex(e.MediaType) && !pipeline.IsManifest(e.MediaType) {
			continue
		}
		desc, raw, err := u.p.c.Keeper.Backend().Manifests.Get(ctx, u.below(repository), registry.Ref{Digest: e.Digest})
		if err != nil {
			return err
		}
		u.received(sideDownstream, int64(len(raw)))
		if err := u.adoptAll(ctx, repository, found{desc: desc, raw: raw}, nil, r, left); err != nil {
			return err
		}
	}
	u.received(sideDownstream, int64(len(got.raw)))
	return u.keep(ctx, r.made, repository, got, tags)
}

// downstream gets a manifest by its digest. An index of which not all images went
// downstream is there as a blob (forward.go).
func (u *upstream) downstream(ctx context.Context, repository string, d digest.Digest) (found, error) {
	b := u.p.c.Keeper.Backend()
	desc, raw, err := b.Manifests.Get(ctx, u.below(repository), registry.Ref{Digest: d})
	if !errors.Is(err, pipeline.ErrNotFound) {
		return found{desc, raw, true}, err
	}
	rc, err := b.Blobs.Open(ctx, u.below(repository), d, 0)
	if err != nil {
		return found{}, err
	}
	defer rc.Close()
	limit := pipeline.Limits{}.WithDefaults().Manifest
	raw, err = io.ReadAll(io.LimitReader(rc, limit+1))
	if err != nil {
		return found{}, err
	}
	if got := d.Algorithm().FromBytes(raw); got != d {
		return found{}, pipeline.DigestError("blob downstream", d, got)
	}
	m, err := registry.ParseManifest("", raw, d.Algorithm())
	if err != nil || !pipeline.IsIndex(m.Desc.MediaType) {
		return found{}, missing("manifest " + d.String())
	}
	return found{desc: plain(m.Desc), raw: raw}, nil
}

// downstreamTag is what a tag was when it was last sent downstream: for when nobody
// else can be asked.
func (u *upstream) downstreamTag(ctx context.Context, repository, tag string, r *rule) (found, error) {
	k := u.p.c.Keeper
	if k == nil {
		return found{}, missing("downstream")
	}
	if r.made != nil {
		tag = lastTag(r.Key(), tag)
	}
	desc, raw, err := k.Backend().Manifests.Get(ctx, u.below(repository), registry.Ref{Tag: tag})
	if err != nil {
		u.failed(sideDownstream, err)
		return found{}, err
	}
	got := found{desc: desc, raw: raw}
	if r.made == nil {
		return got, u.keep(ctx, u.mirror, repository, got, nil)
	}
	left := maxAdopted
	return got, u.adoptAll(ctx, repository, got, nil, r, &left)
}
