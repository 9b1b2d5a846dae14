package pipelinetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// Uploading is how many uploads have neither ended nor been cancelled.
func (r *Registry) Uploading() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.uploads)
}

type memoryUploads struct{ *Registry }

var _ registry.Uploads = memoryUploads{}

func (u memoryUploads) Begin(_ context.Context, name, id string) (registry.Upload, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	up := &memoryUpload{of: u.Registry, name: name, id: id}
	u.uploads[name+" "+id] = up
	return up, nil
}

func (u memoryUploads) Resume(_ context.Context, name, id string) (registry.Upload, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if up := u.uploads[name+" "+id]; up != nil {
		return up, nil
	}
	return nil, fmt.Errorf("upload %s: %w", id, pipeline.ErrNotFound)
}

func (u memoryUploads) Cancel(_ context.Context, name, id string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	up := u.uploads[name+" "+id]
	if up == nil {
		return fmt.Errorf("upload %s: %w", id, pipeline.ErrNotFound)
	}
	delete(u.uploads, name+" "+id)
	up.end()
	return nil
}

type memoryUpload struct {
	of       *Registry
	name, id string

	mu    sync.Mutex
	raw   []byte
	ended bool
}

var _ registry.Upload = (*memoryUpload)(nil)

func (u *memoryUpload) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
}

func (u *memoryUpload) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return 0, fmt.Errorf("upload %s: %w", u.id, pipeline.ErrNotFound)
	}
	u.raw = append(u.raw, p...)
	return len(p), nil
}

func (u *memoryUpload) Size() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return int64(len(u.raw))
}

func (u *memoryUpload) Open(context.Context) (io.ReadCloser, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return io.NopCloser(bytes.NewReader(u.raw)), nil
}

func (u *memoryUpload) Commit(_ context.Context, d digest.Digest) error {
	u.of.mu.Lock()
	defer u.of.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return fmt.Errorf("upload %s: %w", u.id, pipeline.ErrNotFound)
	}
	u.ended = true
	delete(u.of.uploads, u.name+" "+u.id)
	u.of.repository(u.name).blobs[d] = u.raw
	return nil
}

func (u *memoryUpload) Close() error { return nil }
