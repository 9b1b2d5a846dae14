package pull

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// An Image is one that came from an upstream, or from downstream in its place, or did not.
type Image struct {
	Host, Repository string
	// Tags are names that it has; there need not be one.
	Tags []string
	// Received is the digest of what the upstream has, Stored of what clients get.
	Received, Stored digest.Digest
	// Bytes of layers, configs and manifests: those that it names, where nobody filters it
	// and they come when somebody asks for them; else those that were read. Reused were
	// here already.
	Bytes, Reused int64
	Duration      time.Duration
	// Err is why it cannot be had; the answer to clients, with its reason.
	Err error
}

// pulled tells of an image. That the upstream has none, or that nobody waits for it any
// more, is nothing to tell.
func (u *upstream) pulled(i Image, began time.Time) {
	f := u.p.c.Watch.Pulled
	if f == nil || errors.Is(i.Err, pipeline.ErrNotFound) || errors.Is(i.Err, context.Canceled) {
		return
	}
	i.Host, i.Duration = u.Host, u.p.c.Now().Sub(began)
	f(i)
}

// mirrored tells of an image that clients get as it is.
func (u *upstream) mirrored(repository string, tags []string, got found, began time.Time) {
	i := Image{Repository: repository, Tags: tags, Received: got.desc.Digest, Stored: got.desc.Digest, Bytes: int64(len(got.raw))}
	if m, err := registry.ParseManifest(got.desc.MediaType, got.raw, got.desc.Digest.Algorithm()); err == nil {
		for _, d := range m.Blobs {
			i.Bytes += d.Size
		}
	}
	u.pulled(i, began)
}

// passes says whether a manifest that a client names by its digest is given as it is, with
// no look at it.
func (r *rule) passes(mediaType string) bool {
	return r != nil && (r.made == nil || r.Digest != rules.DigestRefuse && (!r.judges || pipeline.IsIndex(mediaType)))
}

// named notes that a tag points at a manifest. A client asks for the tag first and then for
// the digest that it was told: when the manifest is here, it has the tag's name.
func (u *upstream) named(repository, tag string, d digest.Digest) {
	const most = 16
	key := flightKey{repository, d}
	u.mu.Lock()
	defer u.mu.Unlock()
	list, _ := u.names.Get(key)
	if !slices.Contains(list, tag) && len(list) < most {
		u.names.Add(key, append(list[:len(list):len(list)], tag))
	}
}

// tagsOf are tags and those that point at a manifest still.
func (u *upstream) tagsOf(ctx context.Context, repository string, d digest.Digest, tags []string) []string {
	names, _ := u.names.Get(flightKey{repository, d})
	out := tags[:len(tags):len(tags)]
	for _, tag := range names {
		n, ok, err := u.note(ctx, repository, tag)
		if err == nil && ok && n.Desc.Digest == d && (len(tags) == 0 || tag != tags[0]) {
			out = append(out, tag)
		}
	}
	return out
}

// point has the tag of a filtered image point at what the filters made, which may be there by
// another tag or by its digest only.
func (u *upstream) point(ctx context.Context, repository, tag string, got found, r *rule) {
	key := r.Key() + "/" + repository + ":" + tag
	if at, ok := u.tags.Get(key); ok && at == got.desc.Digest || got.raw == nil {
		return
	}
	if err := u.keep(ctx, r.made, repository, got, []string{tag}); err != nil {
		u.warn("a tag could not be kept", err)
		return
	}
	u.tags.Add(key, got.desc.Digest)
}
