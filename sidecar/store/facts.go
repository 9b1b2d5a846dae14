package store

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"
)

// maxFact is the size of a note. Facts are small; what is large is a blob.
const maxFact = 64 << 10

// Fact returns a note about a repository, as SetFact left it; pipeline.ErrNotFound where
// there is none.
func (sp *Space) Fact(ctx context.Context, repository, key string) (value []byte, err error) {
	ns := sp.place(repository).namespace()
	err = sp.s.cache.view(ctx, ns, func(_ context.Context, tx *bbolt.Tx) error {
		raw := get(tx, ns, bucketFacts, key)
		if len(raw) < stampSize {
			return missing("fact", key)
		}
		value = bytes.Clone(raw[stampSize:])
		return nil
	})
	return value, err
}

// SetFact leaves a note about a repository: how fresh a tag is, or a verdict. It lasts
// while the repository has anything, or for Options.Pending, unless that has 10,000 younger
// ones; a power failure may lose it. nil removes it.
func (sp *Space) SetFact(ctx context.Context, repository, key string, value []byte) error {
	if key == "" || len(key)+len(value) > maxFact {
		return fmt.Errorf("a fact has a key, and at most %d bytes", maxFact)
	}
	p := sp.place(repository)
	return sp.s.cache.update(ctx, p.namespace(), func(_ context.Context, tx *bbolt.Tx) error {
		if value == nil {
			return unset(tx, p.namespace(), bucketFacts, key)
		}
		return set(tx, p.namespace(), bucketFacts, key, append(stamp(sp.s.o.Now()), value...))
	})
}
