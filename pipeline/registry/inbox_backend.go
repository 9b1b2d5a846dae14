package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

var (
	_ Blobs     = inboxBlobs{}
	_ Uploads   = inboxUploads{}
	_ Upload    = (*incoming)(nil)
	_ Manifests = inboxManifests{}
	_ Tags      = inboxTags{}
)

// inboxBlobs are the blobs that have arrived, and those that need not.
type inboxBlobs struct{ b *Inbox }

// Stat counts what is held elsewhere as there.
func (i inboxBlobs) Stat(ctx context.Context, _ string, d digest.Digest) (int64, error) {
	f, err := i.b.blob(d)
	if err == nil {
		return f.Size(), nil
	}
	if i.b.o.Held != nil {
		if size, held := i.b.o.Held(ctx, d); held {
			return size, nil
		}
	}
	return 0, err
}

// Open reads what has arrived.
func (i inboxBlobs) Open(ctx context.Context, _ string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	f, err := i.b.blob(d)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(f.Section(ctx, offset, f.Size()-offset)), nil
}

// Mount finds what has arrived.
func (i inboxBlobs) Mount(_ context.Context, _, _ string, d digest.Digest) error {
	_, err := i.b.blob(d)
	return err
}

// Delete is not for a push.
func (inboxBlobs) Delete(context.Context, string, digest.Digest) error { return errors.ErrUnsupported }

// inboxUploads are the blobs that arrive.
type inboxUploads struct{ b *Inbox }

// Begin makes a temporary file.
func (i inboxUploads) Begin(_ context.Context, _, id string) (Upload, error) {
	f, err := spool.New(i.b.o.TempDir)
	if err != nil {
		return nil, err
	}
	i.b.mu.Lock()
	defer i.b.mu.Unlock()
	if i.b.closed {
		return nil, errors.Join(errInboxClosed, f.Close())
	}
	i.b.uploads[id] = f
	return &incoming{i.b, id, f}, nil
}

// Resume finds an upload.
func (i inboxUploads) Resume(_ context.Context, _, id string) (Upload, error) {
	i.b.mu.Lock()
	defer i.b.mu.Unlock()
	f := i.b.uploads[id]
	if f == nil {
		return nil, fmt.Errorf("upload %s: %w", id, pipeline.ErrNotFound)
	}
	return &incoming{i.b, id, f}, nil
}

// Cancel gives the space back.
func (i inboxUploads) Cancel(_ context.Context, _, id string) error {
	i.b.mu.Lock()
	defer i.b.mu.Unlock()
	f := i.b.uploads[id]
	if f == nil {
		return fmt.Errorf("upload %s: %w", id, pipeline.ErrNotFound)
	}
	delete(i.b.uploads, id)
	return f.Close()
}

// An incoming is one upload.
type incoming struct {
	b  *Inbox
	id string
	f  *spool.File
}

func (u *incoming) Write(p []byte) (int, error) {
	n, err := u.f.Write(p)
	if err != nil {
		err = spool.Explain(u.b.o.TempDir, err)
		u.b.End(err) // the client only learns that it went wrong
	}
	return n, err
}

// Size is how much has come.
func (u *incoming) Size() int64 { return u.f.Size() }

// Open reads what has come.
func (u *incoming) Open(ctx context.Context) (io.ReadCloser, error) {
	return io.NopCloser(u.f.Section(ctx, 0, u.f.Size())), nil
}

// Commit makes it a blob, and a layer.
func (u *incoming) Commit(_ context.Context, d digest.Digest) error { return u.b.add(u.id, u.f, d) }

// Close keeps what has come.
func (*incoming) Close() error { return nil }

// inboxManifests are the manifests that have arrived.
type inboxManifests struct{ b *Inbox }

func (i inboxManifests) find(ref Ref) (Manifest, error) {
	i.b.mu.Lock()
	defer i.b.mu.Unlock()
	d := ref.Digest
	if d == "" {
		d = i.b.tags[ref.Tag]
	}
	m, ok := i.b.manifests[d]
	if !ok {
		return m, fmt.Errorf("manifest %s: %w", ref, pipeline.ErrNotFound)
	}
	return m, nil
}

// Stat describes a manifest.
func (i inboxManifests) Stat(_ context.Context, _ string, ref Ref) (ocispec.Descriptor, error) {
	m, err := i.find(ref)
	return m.Desc, err
}

// Get returns a manifest.
func (i inboxManifests) Get(_ context.Context, _ string, ref Ref) (ocispec.Descriptor, []byte, error) {
	m, err := i.find(ref)
	return m.Desc, m.Raw, err
}

// Put keeps a manifest, whatever its sender is told.
func (i inboxManifests) Put(ctx context.Context, _ string, m Manifest, tags []string) error {
	i.b.mu.Lock()
	// What a list of referrers tells is the manifest's own, not its parent's.
	m.Desc = ocispec.Descriptor{MediaType: m.Desc.MediaType, Digest: m.Desc.Digest, Size: m.Desc.Size}
	i.b.manifests[m.Desc.Digest] = m
	i.b.came = append(i.b.came, m.Desc.Digest)
	for _, tag := range tags {
		if _, again := i.b.tags[tag]; !again {
			i.b.order = append(i.b.order, tag)
		}
		i.b.tags[tag] = m.Desc.Digest
	}
	i.b.mu.Unlock()
	if i.b.o.Received != nil {
		return i.b.o.Received(ctx, m, tags)
	}
	return nil
}

// Delete is not for a push.
func (inboxManifests) Delete(context.Context, string, digest.Digest) error {
	return errors.ErrUnsupported
}

// inboxTags are the tags that have arrived.
type inboxTags struct{ b *Inbox }

// List lists them.
func (i inboxTags) List(_ context.Context, _, last string, n int) ([]string, error) {
	i.b.mu.Lock()
	defer i.b.mu.Unlock()
	all := slices.Sorted(slices.Values(i.b.order))
	all = slices.DeleteFunc(all, func(tag string) bool { return tag <= last })
	return all[:min(n, len(all))], nil
}

// Delete is not for a push.
func (inboxTags) Delete(context.Context, string, string) error { return errors.ErrUnsupported }

// content is the Inbox as a place that Resolve reads from: it also has what need
// not come.
func (b *Inbox) content() *content {
	return &content{b: b.Backend(), open: func(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
		f, err := b.blob(desc.Digest)
		switch {
		case err == nil: // verified as it came
			return io.NopCloser(f.Section(ctx, 0, f.Size())), nil
		case b.o.Open != nil:
			return b.o.Open(ctx, desc)
		}
		return nil, err
	}}
}
