//go:build linux

package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

const (
	// bufferSize is how much is copied at once where the kernel does not do it.
	bufferSize = 256 << 10
	// window is how much of a layer is read ahead for headers: small files and
	// their headers come together.
	window = 32 << 10
	// hole is the block that a sparse file leaves out when it is all zero.
	hole = 4 << 10
)

// workers is how many files are filled at once: more than cores, since some wait
// for the disk.
func workers() int { return 2 * runtime.GOMAXPROCS(0) }

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// fill writes a file's content, then gives it all the rest, and closes it.
func (t *Tree) fill(ctx context.Context, i item, fd int) (err error) {
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	switch {
	case tarstream.Sparse(i.Header):
		err = t.fillSparse(ctx, i, fd)
	case i.Size > bufferSize:
		err = copyRange(ctx, i, fd)
	default:
		err = copyBytes(ctx, i, fd, i.at, i.Size)
	}
	if err != nil {
		return err
	}
	return t.meta(i).apply(t, handle{fd: fd})
}

// copyRange lets the kernel copy. Not every pair of file systems can.
func copyRange(ctx context.Context, i item, fd int) error {
	const atOnce = 32 << 20 // how long an interrupt may have to wait
	at, left := i.at, i.Size
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.CopyFileRange(int(i.layer.Fd()), &at, fd, nil, int(min(left, atOnce)), 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EIO), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
			return err
		case err != nil, n == 0:
			return copyBytes(ctx, i, fd, at, left)
		}
		left -= int64(n)
	}
	return nil
}

// copyBytes copies by hand.
func copyBytes(ctx context.Context, i item, fd int, at, left int64) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := i.layer.ReadAt((*buf)[:min(left, bufferSize)], at)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := writeAll(fd, (*buf)[:n]); err != nil {
			return err
		}
		at, left = at+int64(n), left-int64(n)
	}
	return nil
}

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// fillSparse leaves holes where a sparse file has zeros. A few bytes of layer may
// stand for any number of zeros, which have to be looked at: they are bounded.
func (t *Tree) fillSparse(ctx context.Context, i item, fd int) error {
	if t.opts.Sparse > 0 && i.Size > t.opts.Sparse-t.sparse {
		return fmt.Errorf("with it the sparse files of the layer have more than %d bytes (raise it with --max-layer-size)", t.opts.Sparse)
	}
	t.sparse += i.Size
	if err := unix.Ftruncate(fd, i.Size); err != nil {
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var at int64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(i.r, *buf)
		for block := (*buf)[:n]; len(block) > 0; {
			piece := block[:min(hole, len(block))]
			if !bytes.Equal(piece, zeros[:len(piece)]) {
				if _, err := unix.Pwrite(fd, piece, at); err != nil {
					return err
				}
			}
			at += int64(len(piece))
			block = block[len(piece):]
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && at == i.Size {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var zeros [hole]byte

// A section reads a layer from its start, without moving the file's own place:
// several may. It knows where it is, and to skip costs nothing.
type section struct {
	f    *os.File
	pos  int64
	buf  []byte // what lies at from
	from int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.pos < s.from || s.pos >= s.from+int64(len(s.buf)) {
		if s.buf == nil {
			s.buf = make([]byte, window)
		}
		n, err := s.f.ReadAt(s.buf[:window], s.pos)
		s.buf, s.from = s.buf[:n], s.pos
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, s.buf[s.pos-s.from:])
	s.pos += int64(n)
	return n, nil
}

// Seek is what archive/tar skips contents with.
func (s *section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		return 0, errors.ErrUnsupported
	}
	if offset < 0 {
		return 0, os.ErrInvalid
	}
	s.pos = offset
	return offset, nil
}
