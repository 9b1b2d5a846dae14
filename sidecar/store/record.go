package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"
)

const (
	// labelRoot makes a manifest a root of containerd's garbage collection, and
	// labelRef leads from it to what it names.
	labelRoot = "containerd.io/gc.root"
	labelRef  = "containerd.io/gc.ref.content."
	// labelSince is when a lease was taken, in seconds, by the store's clock.
	labelSince = "occystrap/since"
)

// record makes a blob, which is in place, visible in the namespace of ctx. One that is
// visible gets the labels, unless they are nil.
func (b *base) record(ctx context.Context, d digest.Digest, labels map[string]string) error {
	w, err := b.content.Writer(ctx, content.WithRef("put-"+d.String()), content.WithDescriptor(ocispec.Descriptor{Digest: d}))
	if errdefs.IsAlreadyExists(err) {
		if labels == nil {
			return nil
		}
		_, err = b.content.Update(ctx, content.Info{Digest: d, Labels: labels}, "labels")
		return err
	}
	if err != nil {
		return fmt.Errorf("record %s: %w", d, err)
	}
	defer w.Close()
	if err := w.Commit(ctx, 0, d, content.WithLabels(labels)); err != nil {
		return fmt.Errorf("record %s: %w", d, err)
	}
	return nil
}

// arrived records a blob that no manifest names yet: a lease keeps it. What came
// again is young again.
func (s *Store) arrived(ctx context.Context, d digest.Digest) error {
	if err := s.cache.record(ctx, d, nil); err != nil {
		return err
	}
	return s.lease(ctx, d, s.o.Now())
}

// lease keeps a blob of the namespace of ctx, for Options.Pending since then.
func (s *Store) lease(ctx context.Context, d digest.Digest, since time.Time) error {
	l := leases.Lease{ID: d.String()}
	if err := s.cache.leases.Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("renew the lease of %s: %w", d, err)
	}
	at := strconv.FormatInt(since.Unix(), 10)
	if _, err := s.cache.leases.Create(ctx, leases.WithID(l.ID), leases.WithLabels(map[string]string{labelSince: at})); err != nil {
		return fmt.Errorf("lease %s: %w", d, err)
	}
	if err := s.cache.leases.AddResource(ctx, l, leases.Resource{ID: l.ID, Type: "content"}); err != nil {
		return fmt.Errorf("lease %s: %w", d, err)
	}
	return nil
}

// knows says whether a blob is visible in a namespace, and its size. It reads what
// containerd's Info would read with its labels and times (its package metadata,
// buckets.go: v1/NAMESPACE/content/blob/DIGEST/size, a varint), which each request asks
// for.
func (b *base) knows(tx *bbolt.Tx, ns string, d digest.Digest) (int64, bool) {
	blobs := records(tx, ns)
	if blobs == nil {
		return 0, false
	}
	record := blobs.Bucket([]byte(d))
	if record == nil {
		return 0, false
	}
	size, n := binary.Varint(record.Get([]byte("size")))
	return size, n > 0
}

// records is containerd's bucket of a namespace's blobs; nil where there is none.
func records(tx *bbolt.Tx, ns string) *bbolt.Bucket {
	b := tx.Bucket([]byte("v1"))
	for _, name := range []string{ns, "content", "blob"} {
		if b == nil {
			return nil
		}
		b = b.Bucket([]byte(name))
	}
	return b
}

// forgets removes a blob from the namespace of ctx, and says whether it was there.
func (b *base) forgets(ctx context.Context, d digest.Digest) (bool, error) {
	err := b.leases.Delete(ctx, leases.Lease{ID: d.String()})
	if err != nil && !errdefs.IsNotFound(err) {
		return false, fmt.Errorf("end the lease of %s: %w", d, err)
	}
	err = b.content.Delete(ctx, d)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// refs are the labels of a manifest's record.
func refs(parts []part) map[string]string {
	labels := map[string]string{labelRoot: "1"}
	for i, p := range parts {
		labels[labelRef+strconv.Itoa(i)] = p.Digest.String()
	}
	return labels
}
