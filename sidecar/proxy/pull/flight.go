package pull

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// A flight is one blob that arrives: fetched once, written into an upload of the
// store, and read by any number of clients out of that file while it grows.
//
//	origin ─▶ fill ─▶ upload ─▶ reader, reader, … (pread, up to seen)
//
// Readers get all but the last byte as it comes, and that byte once the digest was
// right: a client never takes a lie for a whole blob.
type flight struct {
	key  flightKey
	from context.CancelCauseFunc // ends the fetch
	// begun is closed once size, or err, is known.
	begun chan struct{}
	size  int64

	mu      sync.Mutex
	file    io.ReaderAt // the upload's; nil where it cannot be read while it grows
	seen    int64       // bytes that readers may have
	whole   bool        // the digest was right
	ended   bool        // nothing changes any more
	err     error
	more    chan struct{} // closed when one of the above changed; nil if nobody waits
	readers int
	left    *time.Timer // runs while there is no reader
	times   int         // that it was begun
	long    bool        // until the blob has come, rather than for a moment
	closer  io.Closer
	users   int // of closer
}

// A flightKey is a blob of a repository: who may read one may not read another.
type flightKey struct {
	repository string
	digest     digest.Digest
}

var errAlone = errors.New("nobody waits for this blob any more")

func newFlight(key flightKey, cancel context.CancelCauseFunc) *flight {
	return &flight{key: key, from: cancel, begun: make(chan struct{}), size: -1, users: 1}
}

// wait returns once the size is known, or why there is none. That a blob is empty is
// known when its digest was right: there is no last byte to hold back.
func (f *flight) wait(ctx context.Context) (int64, error) {
	select {
	case <-f.begun:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	var full *keepError
	f.mu.Lock()
	empty := f.size == 0
	f.mu.Unlock()
	if empty {
		if err := f.whenWhole(ctx); err != nil && !errors.As(err, &full) {
			return 0, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size < 0 || f.err != nil && f.seen <= 0 && !errors.As(f.err, &full) {
		return 0, f.err
	}
	return f.size, nil
}

// begin tells the size, and the file that will have the bytes.
func (f *flight) begin(size int64, file io.ReadCloser) {
	f.mu.Lock()
	f.size = size
	if at, ok := file.(io.ReaderAt); ok {
		f.file = at
	}
	f.closer = file
	f.mu.Unlock()
	close(f.begun)
}

// past begins a flight that cannot be kept: clients are sent past the store.
func (f *flight) past(size int64, err error) error {
	if size >= 0 {
		f.begin(size, nil)
	}
	return &keepError{err}
}

// advance lets readers have what was written, but for the last byte.
func (f *flight) advance(written int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen = min(written, f.size-1); f.more != nil {
		close(f.more)
		f.more = nil
	}
}

// verified lets readers have the last byte, too.
func (f *flight) verified() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.whole = f.size, true
	f.wake()
}

// end tells readers that no more comes; the error is nil if all came.
func (f *flight) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	if !f.whole {
		f.err = err
	}
	f.wake()
	if f.left != nil {
		f.left.Stop()
	}
	select {
	case <-f.begun:
	default:
		close(f.begun)
	}
}

func (f *flight) wake() {
	if f.more != nil {
		close(f.more)
		f.more = nil
	}
}

// release gives up one use of the file.
func (f *flight) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users--; f.users == 0 && f.closer != nil {
		_ = f.closer.Close() // it was only read
	}
}

// reader reads from an offset on; past is for what the store does not take. False: the
// file cannot be read before it is whole.
func (f *flight) reader(ctx context.Context, offset int64, leave func(), past passer) (io.ReadCloser, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil || f.users == 0 {
		return nil, false
	}
	f.users++
	return &flightReader{ctx: ctx, f: f, own: reopen(f.file), at: offset, leave: leave, past: past}, true
}

// whenWhole returns once all bytes have come and are in the store, or why not.
func (f *flight) whenWhole(ctx context.Context) error {
	for {
		f.mu.Lock()
		if f.ended {
			defer f.mu.Unlock()
			return f.err
		}
		if f.more == nil {
			f.more = make(chan struct{})
		}
		more := f.more
		f.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var _ registry.Blobs = (*blobs)(nil)
