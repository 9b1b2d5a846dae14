package store

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

var (
	_ registry.Tags      = spaceTags{}
	_ registry.Referrers = spaceReferrers{}
)

// spaceTags are the tags of a space.
type spaceTags struct{ sp *Space }

// List reads one page; the database has the tags in their order.
func (t spaceTags) List(ctx context.Context, repository, last string, n int) (tags []string, err error) {
	ns := t.sp.place(repository).namespace()
	known := false
	for _, base := range t.sp.bases() {
		if err := base.view(ctx, ns, func(ctx context.Context, tx *bbolt.Tx) error {
			known = known || exists(ctx, tx, ns)
			b := ours(tx, ns, bucketTags)
			if b == nil || base != t.sp.images() {
				return nil
			}
			c := b.Cursor()
			k, _ := c.Seek([]byte(last))
			for ; k != nil && len(tags) < n; k, _ = c.Next() {
				if string(k) > last {
					tags = append(tags, string(k))
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	if !known {
		return nil, missing("repository", repository)
	}
	return tags, nil
}

// Delete removes a tag and leaves its manifest.
func (t spaceTags) Delete(ctx context.Context, repository, tag string) error {
	p := t.sp.place(repository)
	defer t.sp.s.manifests.forget(p)
	return t.sp.images().update(ctx, p.namespace(), func(_ context.Context, tx *bbolt.Tx) error {
		if get(tx, p.namespace(), bucketTags, tag) == nil {
			return missing("tag", tag)
		}
		return unset(tx, p.namespace(), bucketTags, tag)
	})
}

// spaceReferrers are the referrers of a space.
type spaceReferrers struct{ sp *Space }

// List finds them by their key.
func (r spaceReferrers) List(ctx context.Context, repository string, subject digest.Digest) (list []ocispec.Descriptor, err error) {
	ns := r.sp.place(repository).namespace()
	err = r.sp.images().view(ctx, ns, func(_ context.Context, tx *bbolt.Tx) error {
		list, err = referrersOf(tx, ns, subject)
		return err
	})
	return list, err
}

func referrersOf(tx *bbolt.Tx, ns string, subject digest.Digest) (list []ocispec.Descriptor, err error) {
	b := ours(tx, ns, bucketReferrers)
	if b == nil {
		return nil, nil
	}
	prefix := referrerKey(subject, "")
	c := b.Cursor()
	for k, _ := c.Seek([]byte(prefix)); len(k) > len(prefix) && string(k[:len(prefix)]) == prefix; k, _ = c.Next() {
		e, there, err := readEntry(tx, ns, digest.Digest(k[len(prefix):]))
		if err != nil {
			return nil, err
		}
		if there {
			list = append(list, e.Desc)
		}
	}
	return list, nil
}

// isMissing says whether an error is that something is not there.
func isMissing(err error) bool { return errors.Is(err, pipeline.ErrNotFound) }
