package push

import (
	"context"
	"encoding/json"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// DigestHeader is the field of the answer to a push that has the digest under which the
// image is kept. Docker-Content-Digest has the one that came, which clients insist on.
const DigestHeader = "Occystrap-Digest"

// manifests are those that came, by their digest, and those that are kept.
type manifests struct{ p *Push }

var _ registry.Manifests = manifests{}

// Stat describes a manifest.
func (m manifests) Stat(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, error) {
	if ref.Digest != "" {
		if desc, err := m.p.cfg.Staging.Manifests.Stat(ctx, repository, ref); !registry.IsMissing(err) {
			return desc, err
		}
	}
	desc, err := m.p.cfg.Keeper.Backend().Manifests.Stat(ctx, repository, ref)
	return desc, answer(err)
}

// Get returns a manifest.
func (m manifests) Get(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	if ref.Digest != "" {
		if desc, raw, err := m.p.cfg.Staging.Manifests.Get(ctx, repository, ref); !registry.IsMissing(err) {
			return desc, raw, err
		}
	}
	desc, raw, err := m.p.cfg.Keeper.Backend().Manifests.Get(ctx, repository, ref)
	return desc, raw, answer(err)
}

// Put sends an image on, and returns when it is kept. What it is kept as stands in the
// answer's header.
func (m manifests) Put(ctx context.Context, repository string, manifest registry.Manifest, tags []string) error {
	stored, err := m.p.deliver(ctx, repository, manifest, tags)
	if err != nil {
		return answer(err)
	}
	if stored.Digest != "" {
		registry.SetHeader(ctx, DigestHeader, stored.Digest.String())
	}
	return nil
}

// Delete removes a manifest where it is kept, under the digest that it has there, and
// from staging.
func (m manifests) Delete(ctx context.Context, repository string, d digest.Digest) error {
	kept := d
	if stored, ok := m.p.stored(ctx, repository, d); ok {
		kept = stored.Digest
	}
	return both(
		m.p.cfg.Keeper.Backend().Manifests.Delete(ctx, repository, kept),
		func() error { return m.p.cfg.Staging.Manifests.Delete(ctx, repository, d) },
	)
}

// storedNote is the key of the note that tells what a manifest is kept as.
func storedNote(d digest.Digest) string { return "stored " + d.String() }

// stored is what a manifest that came is kept as, where that is another one.
func (p *Push) stored(ctx context.Context, repository string, d digest.Digest) (desc ocispec.Descriptor, ok bool) {
	raw, err := p.cfg.Notes.Fact(ctx, repository, storedNote(d))
	if err != nil || json.Unmarshal(raw, &desc) != nil || desc.Digest == "" {
		return desc, false
	}
	return desc, true
}

// note remembers it.
func (p *Push) note(ctx context.Context, repository string, d digest.Digest, stored ocispec.Descriptor) error {
	if old, noted := p.stored(ctx, repository, d); stored.Digest == d && !noted || stored.Digest == old.Digest {
		return nil
	}
	raw, err := json.Marshal(ocispec.Descriptor{MediaType: stored.MediaType, Digest: stored.Digest, Size: stored.Size})
	if err != nil {
		return err
	}
	return p.cfg.Notes.SetFact(ctx, repository, storedNote(d), raw)
}
