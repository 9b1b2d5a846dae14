// Package spool holds bytes that arrive once in a temporary file, which many
// may read while it is written.
//
//	stream ─▶ Write ─▶ temporary file ─▶ Section ─▶ readers, at their own pace
//
// A writer never waits for a reader, so nobody has to read at all; a reader
// that is ahead of the writer waits. What the bytes mean is the caller's.
package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// ErrClosed is what readers get after Close.
var ErrClosed = errors.New("the temporary file is closed")

// A File is a temporary file that grows. One goroutine writes; any number
// reads. The name in the directory is gone as soon as the system allows, so
// that nothing is left behind when the program is killed.
type File struct {
	f *os.File

	mu     sync.Mutex
	size   int64
	ended  bool
	err    error         // why there is no more; nil after a good end
	grown  chan struct{} // closed when the file grows or ends; nil: nobody waits
	remove bool          // the name still exists
}

// New makes an empty file in dir; "" is the system's directory.
func New(dir string) (*File, error) {
	f, err := os.CreateTemp(dir, "occystrap-*")
	if err != nil {
		return nil, Explain(dir, err)
	}
	return &File{f: f, remove: os.Remove(f.Name()) != nil}, nil
}

// Explain tells in which directory writing a temporary file failed, and what
// helps.
func Explain(dir string, err error) error {
	if dir == "" {
		dir = os.TempDir()
	}
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err // the file's own name is noise
	}
	return fmt.Errorf("write a temporary file in %s: %w (choose another place with --temp-dir)", dir, err)
}

// Write appends p and wakes those who wait for it.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.f.Write(p)
	f.mu.Lock()
	f.size += int64(n)
	f.wake()
	f.mu.Unlock()
	return n, err
}

// End says that no more will come: err is nil at a good end, else what readers
// get who want more. The first End counts.
func (f *File) End(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.ended, f.err = true, err
	f.wake()
}

// Size is how many bytes were written so far.
func (f *File) Size() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size
}

// Close ends the file, fails all readers and gives the space back.
func (f *File) Close() error {
	f.End(ErrClosed)
	f.mu.Lock()
	remove := f.remove
	f.remove = false
	f.mu.Unlock()
	err := f.f.Close()
	if remove {
		err = errors.Join(err, os.Remove(f.f.Name()))
	}
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// wake is called with the lock held.
func (f *File) wake() {
	if f.grown != nil {
		close(f.grown)
		f.grown = nil
	}
}

// Section reads the n bytes from offset off on. Read waits for bytes that were
// not written yet, until ctx ends.
func (f *File) Section(ctx context.Context, off, n int64) io.Reader {
	return &section{f: f, wait: func(at int64) (int64, error) { return f.wait(ctx, at) }, at: off, end: off + n}
}

// ReadAt reads what was written already, and does not wait for more.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	if errors.Is(err, os.ErrClosed) {
		err = ErrClosed
	}
	return n, err
}

// wait returns how far the file reaches once that is beyond at.
func (f *File) wait(ctx context.Context, at int64) (int64, error) {
	for {
		f.mu.Lock()
		switch {
		case f.size > at:
			size := f.size
			f.mu.Unlock()
			return size, nil
		case f.ended && f.err != nil:
			defer f.mu.Unlock()
			return 0, f.err
		case f.ended:
			f.mu.Unlock()
			return 0, io.ErrUnexpectedEOF
		}
		if f.grown == nil {
			f.grown = make(chan struct{})
		}
		grown := f.grown
		f.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

type section struct {
	f       *File
	wait    func(at int64) (int64, error)
	at, end int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.at >= s.end {
		return 0, io.EOF
	}
	size, err := s.wait(s.at)
	if err != nil {
		return 0, err
	}
	n, err := s.f.f.ReadAt(p[:min(int64(len(p)), s.end-s.at, size-s.at)], s.at)
	s.at += int64(n)
	if errors.Is(err, os.ErrClosed) {
		err = ErrClosed
	}
	return n, err
}
