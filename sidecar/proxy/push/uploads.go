package push

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
)

var errCancelled = errors.New("the upload was cancelled")

// uploads go to staging, and are watched while they arrive.
type uploads struct{ p *Push }

var _ registry.Uploads = uploads{}

// Begin starts one.
func (u uploads) Begin(ctx context.Context, repository, id string) (registry.Upload, error) {
	up, err := u.p.cfg.Staging.Uploads.Begin(ctx, repository, id)
	if err != nil {
		return nil, err
	}
	return &upload{Upload: up, p: u.p, a: u.p.arrive(repository, id)}, nil
}

// Resume goes on with one. One that an earlier process began is not watched.
func (u uploads) Resume(ctx context.Context, repository, id string) (registry.Upload, error) {
	up, err := u.p.cfg.Staging.Uploads.Resume(ctx, repository, id)
	if err != nil {
		return nil, err
	}
	if a := u.p.arriving(id); a != nil && a.repository == repository {
		return &upload{Upload: up, p: u.p, a: a}, nil
	}
	return up, nil
}

// Cancel forgets one.
func (u uploads) Cancel(ctx context.Context, repository, id string) error {
	err := u.p.cfg.Staging.Uploads.Cancel(ctx, repository, id)
	if a := u.p.arriving(id); a != nil && a.repository == repository && err == nil {
		u.p.lost(a, errCancelled)
	}
	return err
}

// An upload is one request's use of one that is watched.
type upload struct {
	registry.Upload
	p *Push
	a *arrival
}

// Write appends, and never waits for whoever reads.
func (u *upload) Write(b []byte) (int, error) {
	first := u.Size() == 0 && len(b) > 0
	n, err := u.Upload.Write(b)
	if n > 0 {
		u.a.grow(int64(n))
		if first {
			u.p.begin(u.a, b[:n])
		}
	}
	return n, err
}

// Commit makes it a blob.
func (u *upload) Commit(ctx context.Context, d digest.Digest) error {
	if err := u.Upload.Commit(ctx, d); err != nil {
		return err
	}
	u.p.whole(u.a, d)
	return nil
}
