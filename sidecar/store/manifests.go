package store

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

var _ registry.Manifests = spaceManifests{}

// maxManifest bounds what is read into memory; the Handler's limit is below it.
const maxManifest = 64 << 20

// spaceManifests are the manifests of a space.
type spaceManifests struct{ sp *Space }

// Stat describes a manifest. One that was asked for before is described from memory.
func (m spaceManifests) Stat(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, error) {
	r, err := m.resolve(ctx, repository, ref)
	return r.desc, err
}

// Get returns a manifest with its bytes.
func (m spaceManifests) Get(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	r, err := m.resolve(ctx, repository, ref)
	if err != nil || r.raw != nil {
		return r.desc, r.raw, err
	}
	s := m.sp.s
	generation := s.manifests.generation()
	f, err := s.files.open(r.desc.Digest)
	if err != nil {
		return r.desc, nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return r.desc, nil, fmt.Errorf("read manifest %s: %w", r.desc.Digest, err)
	}
	if got := r.desc.Digest.Algorithm().FromBytes(raw); got != r.desc.Digest {
		return r.desc, nil, fmt.Errorf("manifest %s is damaged on the disk; run \"occystrap store repair\"", r.desc.Digest)
	}
	r.raw = raw
	s.manifests.keep(generation, m.sp.place(repository), ref, r)
	return r.desc, raw, nil
}

// resolve finds what a reference names.
func (m spaceManifests) resolve(ctx context.Context, repository string, ref registry.Ref) (resolved, error) {
	p, s := m.sp.place(repository), m.sp.s
	if r, ok := s.manifests.find(p, ref); ok {
		s.uses.touch(use{p, r.desc.Digest}, s.o.Now())
		return r, nil
	}
	generation := s.manifests.generation()
	var e entry
	err := m.sp.images().view(ctx, p.namespace(), func(_ context.Context, tx *bbolt.Tx) (err error) {
		d := ref.Digest
		if ref.Tag != "" {
			d = digest.Digest(get(tx, p.namespace(), bucketTags, ref.Tag))
		}
		there := false
		if e, there, err = readEntry(tx, p.namespace(), d); err == nil && !there {
			return missing("manifest", ref.String())
		}
		return err
	})
	if err != nil {
		return resolved{}, err
	}
	r := resolved{desc: ocispec.Descriptor{MediaType: e.Desc.MediaType, Digest: e.Desc.Digest, Size: e.Desc.Size}}
	s.manifests.keep(generation, p, ref, r)
	s.uses.touch(use{p, r.desc.Digest}, s.o.Now())
	return r, nil
}

// Delete removes a manifest and its tags. What it alone needed goes with the next
// collection. One that an index there lists is not removed: what is kept is whole.
func (m spaceManifests) Delete(ctx context.Context, repository string, d digest.Digest) error {
	p, s := m.sp.place(repository), m.sp.s
	s.making.Lock() // no index is put that would find it there
	defer s.making.Unlock()
	defer s.manifests.forget(p)
	base := m.sp.images()
	return base.update(ctx, p.namespace(), func(ctx context.Context, tx *bbolt.Tx) error {
		e, there, err := readEntry(tx, p.namespace(), d)
		if err != nil || !there {
			return joinMissing(err, "manifest", d.String())
		}
		if err := m.release(tx, p.namespace(), d); err != nil {
			return err
		}
		return base.dropManifest(ctx, tx, p.namespace(), e)
	})
}

// release refuses a manifest that another one needs. In a sparse space the other one is
// told that it is absent.
func (m spaceManifests) release(tx *bbolt.Tx, ns string, d digest.Digest) error {
	if m.sp.o.Sparse {
		return markAbsent(tx, ns, d)
	}
	by, needed, err := neededBy(tx, ns, d)
	if err != nil || !needed {
		return err
	}
	kind := "manifest"
	if pipeline.IsIndex(by.Desc.MediaType) {
		kind = "index"
	}
	return &registry.Error{Code: registry.Denied, Message: fmt.Sprintf("%s %s lists this manifest; delete the %s first", kind, by.Desc.Digest, kind)}
}

// joinMissing is err, or else that something is missing.
func joinMissing(err error, what, name string) error {
	if err != nil {
		return err
	}
	return missing(what, name)
}

// dropManifest removes a manifest from the namespace of ctx, with its tags.
func (b *base) dropManifest(ctx context.Context, tx *bbolt.Tx, ns string, e entry) error {
	d := e.Desc.Digest
	tags := ours(tx, ns, bucketTags)
	if tags != nil {
		var gone [][]byte
		if err := tags.ForEach(func(tag, at []byte) error {
			if string(at) == d.String() {
				gone = append(gone, tag)
			}
			return nil
		}); err != nil {
			return err
		}
		for _, tag := range gone {
			if err := tags.Delete(tag); err != nil {
				return err
			}
		}
	}
	if e.Subject != "" {
		if err := unset(tx, ns, bucketReferrers, referrerKey(e.Subject, d)); err != nil {
			return err
		}
	}
	if err := unset(tx, ns, bucketManifests, d.String()); err != nil {
		return err
	}
	_, err := b.forgets(ctx, d)
	return err
}
