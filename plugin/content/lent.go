package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// borrowed is the content of one image, as a lender gives it. Its files are open
// from when they were looked for, so that the image may be deleted meanwhile.
type borrowed struct {
	namespace string
	lender    Lender
	images    []digest.Digest
	limits    pipeline.Limits

	mu    sync.Mutex
	files map[digest.Digest]*os.File
}

var _ pipeline.Content = (*borrowed)(nil)

// lent opens the graph of roots whose blobs a lender has.
func lent(ctx context.Context, namespace string, from Lender, roots []pipeline.Root, q pipeline.Query) (pipeline.Graph, error) {
	b := &borrowed{namespace: namespace, lender: from, limits: q.Limits, files: map[digest.Digest]*os.File{}}
	for _, r := range roots {
		b.images = append(b.images, r.Desc.Digest)
	}
	g, err := pipeline.Resolve(ctx, b, roots, q, pipeline.ResolveOptions{}, b.close)
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return g, nil
}

// file returns the open file of a blob, which stays ours.
func (b *borrowed) file(ctx context.Context, d digest.Digest) (*os.File, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.files[d]; f != nil {
		return f, nil
	}
	var errs []error
	for _, i := range b.images {
		f, err := b.lender.Blob(ctx, b.namespace, i, d)
		if err == nil {
			b.files[d] = f
			return f, nil
		}
		if !errors.Is(err, pipeline.ErrNotFound) {
			return nil, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Fetch returns a whole blob, within the limit of a manifest.
func (b *borrowed) Fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	f, err := b.file(ctx, desc.Digest)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	if err := b.limits.CheckManifest(desc.Digest.String(), info.Size()); err != nil {
		return nil, err
	}
	rc := b.section(f, ocispec.Descriptor{Digest: desc.Digest, Size: info.Size()})
	raw, err := io.ReadAll(rc)
	if err != nil && !errors.Is(err, pipeline.ErrDigest) {
		raw = nil
	}
	return raw, errors.Join(err, rc.Close())
}

// Holds says whether the blob is lent. That of a layer which the store lacks is no
// error: its image is left out, or fails, as --missing says.
func (b *borrowed) Holds(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	_, err := b.file(ctx, desc.Digest)
	if errors.Is(err, pipeline.ErrNotFound) && images.IsLayerType(desc.MediaType) {
		return false, nil
	}
	return err == nil, err
}

// Open returns a blob's bytes; several may be read at once.
func (b *borrowed) Open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	f, err := b.file(ctx, desc.Digest)
	if err != nil {
		return nil, err
	}
	return b.section(f, desc), nil
}

// section reads a file from its start, whoever else reads it.
func (b *borrowed) section(f *os.File, desc ocispec.Descriptor) io.ReadCloser {
	return pipeline.Verified(&lentFile{io.NewSectionReader(f, 0, desc.Size+1), f}, desc)
}

// A lentFile reads a file without moving its place, and leaves it open.
type lentFile struct {
	*io.SectionReader
	file *os.File
}

var _ pipeline.InFile = (*lentFile)(nil)

// Section is the whole file: Verified says so only where it has the size that it
// should have.
func (l *lentFile) Section() (pipeline.Section, bool) {
	info, err := l.file.Stat()
	if err != nil {
		return pipeline.Section{}, false
	}
	return pipeline.Section{File: l.file, Size: info.Size()}, true
}

// Close leaves it open.
func (*lentFile) Close() error { return nil }

// close gives the files back.
func (b *borrowed) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, f := range b.files {
		errs = append(errs, f.Close())
	}
	clear(b.files)
	return errors.Join(errs...)
}
