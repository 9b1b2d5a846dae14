package pull

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/keep"
)

// fillSize is how much of a blob is moved at once: the first bytes are with the
// clients when that much, or less, has come.
const fillSize = 256 << 10

// fill fetches the blob of a flight and keeps it. Its error is why the blob did not
// come; that it could not be kept is told to Watch alone.
func (u *upstream) fill(ctx context.Context, f *flight) error {
	space := u.home(f.key)
	// The flight before this one may have ended since somebody looked here in vain.
	if _, err := space.Backend().Blobs.Stat(ctx, f.key.repository, f.key.digest); err == nil {
		return u.land(ctx, f, space)
	}
	src, size, side, err := u.origin(ctx, f.key)
	if err != nil {
		return err
	}
	defer src.Close()
	// That the upstream gives the blob shows that this repository has it: bytes that
	// another one brought need not be moved again.
	if err := space.Backend().Blobs.Mount(ctx, f.key.repository, "", f.key.digest); err == nil {
		return u.land(ctx, f, space)
	}
	id := uuid.NewString()
	up, err := space.Backend().Uploads.Begin(ctx, f.key.repository, id)
	if err != nil {
		return f.past(size, err)
	}
	defer up.Close()
	if size < 0 { // the registry does not tell: clients wait until it is known
		return u.fillUnknown(ctx, f, src, up, id, space)
	}
	file, err := up.Open(ctx)
	if err != nil {
		return errors.Join(f.past(size, err), u.cancel(ctx, space, f.key.repository, id))
	}
	f.begin(size, file)
	if err := u.move(ctx, f, src, up, size, side); err != nil {
		if full := new(keepError); !errors.As(err, &full) {
			u.failed(side, err)
		}
		return errors.Join(err, u.cancel(ctx, space, f.key.repository, id))
	}
	f.verified()
	if err := up.Commit(ctx, f.key.digest); err != nil {
		u.warn("a blob could not be kept", fmt.Errorf("blob %s: %w", f.key.digest, err))
		return nil // the clients have it
	}
	return nil
}

// move copies a blob of a known size into the upload and checks what comes.
func (u *upstream) move(ctx context.Context, f *flight, src io.Reader, up io.Writer, size int64, side string) error {
	sum := newSum(f.key.digest)
	buf := make([]byte, min(fillSize, max(size, 1)))
	var written int64
	for written < size {
		n, err := src.Read(buf[:min(int64(len(buf)), size-written)])
		if n > 0 {
			if _, err := up.Write(buf[:n]); err != nil {
				return &keepError{err}
			}
			written += int64(n)
			f.advance(written)
			_, _ = sum.h.Write(buf[:n]) // a hash takes everything
			u.received(side, int64(n))
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil && written < size {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("blob %s: %w: %d bytes came, %d were promised", f.key.digest, io.ErrUnexpectedEOF, written, size)
			}
			return err
		}
	}
	if n, _ := io.ReadFull(src, buf[:1]); n > 0 {
		return fmt.Errorf("blob %s: %w: more than its %d bytes come", f.key.digest, pipeline.ErrDigest, size)
	}
	return sum.check()
}

// fillUnknown fetches a blob whose size is known at its end.
func (u *upstream) fillUnknown(ctx context.Context, f *flight, src io.Reader, up registry.Upload, id string, space Space) error {
	sum := newSum(f.key.digest)
	limit := pipeline.Limits{}.WithDefaults().Layer
	if b, ok := u.sizes.Get(f.key); ok {
		limit = b.size
	}
	n, err := io.Copy(io.MultiWriter(up, sum.h), io.LimitReader(src, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("blob %s: %w of %d bytes", f.key.digest, pipeline.ErrLimit, limit)
	}
	if err == nil {
		err = sum.check()
	}
	if err == nil {
		err = up.Commit(ctx, f.key.digest)
	}
	if err != nil {
		return errors.Join(err, u.cancel(ctx, space, f.key.repository, id))
	}
	return u.land(ctx, f, space)
}

// land ends a flight whose blob is in the store already.
func (u *upstream) land(ctx context.Context, f *flight, space Space) error {
	size, err := space.Backend().Blobs.Stat(ctx, f.key.repository, f.key.digest)
	if err != nil {
		return err
	}
	f.begin(size, nil)
	f.verified()
	return nil
}

// cancel gives up what was written, also when the flight's context has ended.
func (*upstream) cancel(ctx context.Context, space Space, repository, id string) error {
	err := space.Backend().Uploads.Cancel(context.WithoutCancel(ctx), repository, id)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil
	}
	return err
}

// origin opens a blob where it is: downstream, else upstream. The size is below zero
// if it is not told.
func (u *upstream) origin(ctx context.Context, key flightKey) (io.ReadCloser, int64, string, error) {
	if k := u.p.c.Keeper; k != nil {
		rc, size, err := openSized(ctx, k, u.below(key.repository), key.digest)
		if err == nil {
			return rc, size, sideDownstream, nil
		}
		u.failed(sideDownstream, err)
	}
	if err := u.ready(); err != nil {
		return nil, 0, "", err
	}
	rc, size, err := u.remote(key.repository).OpenBlob(ctx, key.digest, 0)
	if err != nil {
		u.failed(sideUpstream, err)
		return nil, 0, "", err
	}
	u.works()
	return rc, size, sideUpstream, nil
}

// openSized opens a blob downstream with its size, in one question where the place can
// (keep.Sizer).
func openSized(ctx context.Context, k keep.Keeper, repository string, d digest.Digest) (io.ReadCloser, int64, error) {
	if s, ok := k.(keep.Sizer); ok {
		return s.OpenSized(ctx, repository, d)
	}
	size, err := k.Backend().Blobs.Stat(ctx, repository, d)
	if err != nil {
		return nil, 0, err
	}
	rc, err := k.Backend().Blobs.Open(ctx, repository, d, 0)
	return rc, size, err
}

// home is the space that a blob belongs in: with the manifest that told of it.
func (u *upstream) home(key flightKey) Space {
	if b, ok := u.sizes.Get(key); ok && b.space != nil {
		return b.space
	}
	return u.mirror
}

// A sum computes a digest that is promised.
type sum struct {
	h    hash.Hash
	want digest.Digest
}

func newSum(want digest.Digest) sum { return sum{want.Algorithm().Hash(), want} }

func (s sum) check() error {
	if got := digest.NewDigest(s.want.Algorithm(), s.h); got != s.want {
		return pipeline.DigestError("blob "+s.want.String(), s.want, got)
	}
	return nil
}
