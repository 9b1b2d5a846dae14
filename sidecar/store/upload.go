package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
)

var (
	_ registry.Upload = (*upload)(nil)

	errEnded  = errors.New("the upload has ended; begin another one")
	errClosed = errors.New("the store is closed")
)

// arriving is the file of an upload, which all its requests share.
type arriving struct {
	all   *uploads
	name  string
	f     *os.File
	users int // under uploads.mu
	size  atomic.Int64
	ended atomic.Bool
}

// upload is one request's use of it.
type upload struct {
	sp         *Space
	repository string
	a          *arriving
	closed     bool
}

// Write appends. What was written before an error stays, and counts; not so on a full
// disk, where the space is worth more.
func (u *upload) Write(p []byte) (int, error) {
	if u.closed || u.a.ended.Load() {
		return 0, errEnded
	}
	at := u.a.size.Load()
	n, err := u.a.f.WriteAt(p, at)
	u.a.size.Store(at + int64(n))
	if !u.sp.o.Volatile {
		writeBack(u.a.f, at, int64(n))
	}
	if err != nil {
		if isFull(err) {
			err = errors.Join(full(err), u.a.all.cancel(u.a.name))
		}
		err = fmt.Errorf("write an upload: %w", err)
	}
	return n, err
}

// Size is how many bytes have come.
func (u *upload) Size() int64 { return u.a.size.Load() }

// Open reads from the beginning what has come, and what comes while it is read. The
// file stays readable when the upload is committed; it is an *os.File.
func (u *upload) Open(context.Context) (io.ReadCloser, error) {
	if u.a.ended.Load() {
		return nil, errEnded
	}
	f, err := os.Open(u.path())
	if err != nil {
		return nil, fmt.Errorf("read an upload: %w", err)
	}
	return f, nil
}

func (u *upload) path() string { return filepath.Join(u.a.all.dir, u.a.name) }

// Commit makes the upload a blob. In a durable space it is synced first, once; nothing
// else waits for the disk.
func (u *upload) Commit(ctx context.Context, d digest.Digest) error {
	if u.closed || u.a.ended.Load() {
		return errEnded
	}
	if !u.sp.o.Volatile {
		if err := u.a.f.Sync(); err != nil {
			return fmt.Errorf("commit blob %s: %w", d, full(err))
		}
	}
	if err := u.place(ctx, d); err != nil {
		return fmt.Errorf("commit blob %s: %w", d, err)
	}
	return u.Close()
}

// place moves the upload to its place and records it. A file that could not be
// recorded is not seen, and sweep removes it.
func (u *upload) place(ctx context.Context, d digest.Digest) error {
	s := u.sp.s
	s.making.RLock()
	defer s.making.RUnlock()
	if err := u.take(); err != nil {
		return err
	}
	added, err := s.files.put(u.path(), d, !u.sp.o.Volatile)
	if err != nil {
		return errors.Join(err, remove(u.path()))
	}
	s.grow(added)
	if err := u.sp.arrived(ctx, u.repository, d); err != nil {
		s.work.sweepSoon()
		return err
	}
	return nil
}

// take ends the upload for all others, unless it was cancelled.
func (u *upload) take() error {
	u.a.all.mu.Lock()
	defer u.a.all.mu.Unlock()
	if u.a.ended.Load() {
		return errEnded
	}
	u.a.all.drop(u.a.name, u.a)
	return nil
}

// Close ends this use of the upload, which stays.
func (u *upload) Close() error {
	if u.closed {
		return nil
	}
	u.closed = true
	return u.a.all.release(u.a)
}
