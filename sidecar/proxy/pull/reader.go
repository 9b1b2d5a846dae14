package pull

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// A flightReader is one client's.
type flightReader struct {
	ctx   context.Context //nolint:containedctx // that of the request: io.Reader has none
	f     *flight
	own   *os.File // the flight's, with a place of its own; nil where it cannot be had
	at    int64
	leave func()
	once  sync.Once
	past  passer
	rest  io.ReadCloser // from past
}

var _ registry.Growing = (*flightReader)(nil)

func (r *flightReader) Read(p []byte) (int, error) {
	ready, err := r.wait()
	switch {
	case err != nil:
		return 0, err
	case r.rest != nil:
		return r.rest.Read(p)
	}
	n, err := r.f.file.ReadAt(p[:min(int64(len(p)), ready)], r.at)
	r.at += int64(n)
	if n > 0 || len(p) == 0 {
		err = nil // at the end of the file there may be more to come
	} else if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Part is what has come, for the kernel to send.
func (r *flightReader) Part(limit int64) (io.Reader, int64, error) {
	ready, err := r.wait()
	switch {
	case err != nil:
		return nil, 0, err
	case r.rest != nil:
		return r.rest, limit, nil
	case r.own == nil:
		return r, min(ready, limit), nil
	}
	if _, err := r.own.Seek(r.at, io.SeekStart); err != nil {
		return nil, 0, err
	}
	n := min(ready, limit)
	r.at += n
	return r.own, n, nil
}

// wait returns how many bytes may be read, once there are some, or rest is to be read.
func (r *flightReader) wait() (int64, error) {
	for {
		if r.rest != nil {
			return 0, nil
		}
		ready, more, err := r.state()
		var full *keepError
		switch {
		case errors.As(err, &full):
			if r.rest, err = r.past(r.ctx, r.f, r.at); err != nil {
				return 0, err
			}
			continue
		case ready > 0 || err != nil:
			return ready, err
		}
		select {
		case <-more:
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
}

// reopen opens a file again, with a place of its own: the kernel sends from where that
// is. nil: it cannot be, and who reads copies.
func reopen(file io.ReaderAt) *os.File {
	f, ok := file.(*os.File)
	if !ok {
		return nil
	}
	own, err := os.Open("/proc/self/fd/" + strconv.FormatUint(uint64(f.Fd()), 10))
	if err != nil {
		return nil
	}
	return own
}

// state is how much may be read, else what to wait for, or the end.
func (r *flightReader) state() (ready int64, more <-chan struct{}, err error) {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	switch ready = f.seen - r.at; {
	case ready > 0:
		return ready, nil, nil
	case f.whole:
		return 0, nil, io.EOF
	case f.ended:
		return 0, nil, f.err
	}
	if f.more == nil {
		f.more = make(chan struct{})
	}
	return 0, f.more, nil
}

// Close ends one client's use.
func (r *flightReader) Close() error {
	r.once.Do(func() {
		if r.rest != nil {
			_ = r.rest.Close() // it was only read
		}
		if r.own != nil {
			_ = r.own.Close()
		}
		r.f.release()
		r.leave()
	})
	return nil
}
