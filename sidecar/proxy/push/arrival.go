package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// An arrival is one blob that a client sends, in one request or several.
//
//	grow, grow …, finish ─▶ follow reads it from staging meanwhile
//
// Who sends never waits for who reads.
type arrival struct {
	staging        registry.Backend
	repository, id string
	stall          time.Duration

	mu    sync.Mutex
	size  int64
	blob  ocispec.Descriptor // once it is whole
	ended bool
	err   error         // why it never will be
	more  chan struct{} // closed when there is news; nil: nobody waits

	begun, claimed bool               // by Early, or by whoever needs it sooner
	cancel         context.CancelFunc // of what goes early
	done           chan struct{}      // closed when that has ended
	sent           pipeline.LayerReport
}

var errStalled = errors.New("the upload rests")

// grow notes that n more bytes are in staging.
func (a *arrival) grow(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.size += n
	a.wake()
}

// finish ends it, well as a blob, or by an error.
func (a *arrival) finish(d digest.Digest, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return
	}
	a.ended, a.err = true, err
	a.blob = ocispec.Descriptor{Digest: d, Size: a.size}
	a.wake()
}

// wake is called with the lock held.
func (a *arrival) wake() {
	if a.more != nil {
		close(a.more)
		a.more = nil
	}
}

// wait returns how much there is once it is more than off, or all.
func (a *arrival) wait(ctx context.Context, off int64) (int64, error) {
	var rest *time.Timer
	for {
		a.mu.Lock()
		size, ended, err := a.size, a.ended, a.err
		if a.more == nil {
			a.more = make(chan struct{})
		}
		more := a.more
		a.mu.Unlock()
		if size > off || ended {
			return size, err
		}
		if rest == nil {
			rest = time.NewTimer(a.stall)
			defer rest.Stop()
		}
		select {
		case <-more:
		case <-rest.C:
			return size, errStalled
		case <-ctx.Done():
			return size, context.Cause(ctx)
		}
	}
}

// open reads what is in staging, from its start: an upload that goes on, or a blob.
func (a *arrival) open(ctx context.Context) (io.ReadCloser, error) {
	if up, err := a.staging.Uploads.Resume(ctx, a.repository, a.id); err == nil {
		rc, err := up.Open(ctx)
		if cerr := up.Close(); err == nil && cerr == nil {
			return rc, nil
		}
	}
	// It is a blob now, or will be in a moment.
	for {
		a.mu.Lock()
		size, ended, err, blob := a.size, a.ended, a.err, a.blob
		a.mu.Unlock()
		if ended && err != nil {
			return nil, err
		}
		if ended {
			return a.staging.Blobs.Open(ctx, a.repository, blob.Digest, 0)
		}
		if _, err := a.wait(ctx, size); err != nil {
			return nil, err
		}
	}
}

// follow reads the blob from its start while it comes.
func (a *arrival) follow(ctx context.Context) (io.ReadCloser, error) {
	if _, err := a.wait(ctx, 0); err != nil {
		return nil, err
	}
	rc, err := a.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what arrives: %w", err)
	}
	return &following{a: a, ctx: ctx, rc: rc}, nil
}

// A following is one reading of an arrival.
type following struct {
	a   *arrival
	ctx context.Context //nolint:containedctx // io.Reader has none
	rc  io.ReadCloser
	off int64
}

var _ pipeline.Learned = (*following)(nil)

// Read waits for bytes. Io.EOF comes when the blob is whole, and was verified.
func (f *following) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	size, err := f.a.wait(f.ctx, f.off)
	switch {
	case err != nil:
		return 0, err
	case size == f.off:
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), size-f.off)]
	n, err := f.rc.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		n, err = f.again(p)
	}
	f.off += int64(n)
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil // what is there counts, not what was when it was opened
	}
	return n, err
}

// again opens a place anew that shows only what had come when it was opened.
func (f *following) again(p []byte) (int, error) {
	rc, err := f.a.open(f.ctx)
	if err != nil {
		return 0, err
	}
	_ = f.rc.Close() // it was read only
	f.rc = rc
	if _, err := io.CopyN(io.Discard, rc, f.off); err != nil {
		return 0, fmt.Errorf("read what arrives: %w", err)
	}
	n, err := rc.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Blob is the digest and size of the whole blob.
func (f *following) Blob() ocispec.Descriptor {
	f.a.mu.Lock()
	defer f.a.mu.Unlock()
	return f.a.blob
}

// Close ends the reading.
func (f *following) Close() error { return f.rc.Close() }
