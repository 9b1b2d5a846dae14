package pull

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/occystrap/occystrap/pipeline"
)

// A keepError is why a blob could not be kept: the disk is full, say. Clients are then
// sent past the store, each from the upstream, from where the file ends for it.
type keepError struct{ err error }

func (e *keepError) Error() string { return "keep the blob: " + e.err.Error() }

func (e *keepError) Unwrap() error { return e.err }

// A passer opens the rest of a blob where it comes from.
type passer func(ctx context.Context, f *flight, at int64) (io.ReadCloser, error)

// past reads the rest of a blob from its origin. Before is what the file has of it, up
// to at: it counts for the digest, which is checked before the last byte is given.
func (u *upstream) past(ctx context.Context, f *flight, at int64) (io.ReadCloser, error) {
	if err := u.ready(); err != nil {
		return nil, err
	}
	d := &direct{f: f, sum: newSum(f.key.digest), at: at, checks: true}
	switch {
	case at > 0 && f.file != nil && f.seen >= at:
		if _, err := io.Copy(d.sum.h, io.NewSectionReader(f.file, 0, at)); err != nil {
			return nil, err
		}
	case at > 0: // a range, whose bytes before nobody has: the client puts it together
		d.checks = false
	}
	rc, size, err := u.remote(f.key.repository).OpenBlob(ctx, f.key.digest, at)
	if err != nil {
		u.failed(sideUpstream, err)
		return nil, err
	}
	d.rc = rc
	if size >= 0 && size != f.size {
		return nil, errors.Join(fmt.Errorf("blob %s: %w: it has %d bytes, then %d", f.key.digest, pipeline.ErrDigest, f.size, size), rc.Close())
	}
	return d, nil
}

// direct reads what is not kept, but for the last byte until its digest was right.
type direct struct {
	f      *flight
	rc     io.ReadCloser
	sum    sum
	at     int64 // of the next byte
	checks bool
}

func (d *direct) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if left := d.f.size - 1 - d.at; left > 0 {
		n, err := d.rc.Read(p[:min(int64(len(p)), left)])
		_, _ = d.sum.h.Write(p[:n]) // a hash takes everything
		d.at += int64(n)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	if d.at >= d.f.size {
		return 0, io.EOF
	}
	var tail [2]byte
	n, err := io.ReadFull(d.rc, tail[:])
	if n != 1 || !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, errors.Join(fmt.Errorf("blob %s: %w: it has another length than promised", d.f.key.digest, pipeline.ErrDigest), err)
	}
	_, _ = d.sum.h.Write(tail[:1])
	if d.checks {
		if err := d.sum.check(); err != nil {
			return 0, err
		}
	}
	p[0] = tail[0]
	d.at++
	return 1, nil
}

// Close ends the transfer.
func (d *direct) Close() error { return d.rc.Close() }
