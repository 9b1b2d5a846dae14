package tarball

import (
	"io"
	"os"
)

// A medium takes the bytes of an archive.
type medium struct {
	// file is set where bytes can be written in any place: a file, or several that
	// are one behind the other.
	file spread
	// w is set where they can only be written in order.
	w io.Writer
}

// A spread is written and read in any place, from several goroutines at once.
type spread interface {
	io.WriterAt
	io.ReaderAt
	Truncate(size int64) error
}

// writeAt writes p at off; a stream is at off already.
func (m medium) writeAt(p []byte, off int64) error {
	var err error
	if m.file != nil {
		_, err = m.file.WriteAt(p, off)
	} else {
		_, err = m.w.Write(p)
	}
	return plainError(err)
}

// copyAt copies the first n bytes of from to off, in the kernel where it can.
func (m medium) copyAt(off int64, from *os.File, n int64) error {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w := m.w
	if f, ok := m.file.(*os.File); ok {
		// Only whoever moves layers uses the file's own offset.
		if _, err := f.Seek(off, io.SeekStart); err != nil {
			return plainError(err)
		}
		w = f
	} else if m.file != nil {
		w = io.NewOffsetWriter(m.file, off)
	}
	got, err := io.CopyBuffer(w, io.LimitReader(from, n), make([]byte, bufferSize))
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	return plainError(err)
}

// moveDown moves n bytes of the file to a lower offset.
func (m medium) moveDown(to, from, n int64) error {
	buf := make([]byte, bufferSize)
	for n > 0 {
		p := buf[:min(n, int64(len(buf)))]
		if _, err := m.file.ReadAt(p, from); err != nil {
			return plainError(noEOF(err))
		}
		if _, err := m.file.WriteAt(p, to); err != nil {
			return plainError(err)
		}
		to, from, n = to+int64(len(p)), from+int64(len(p)), n-int64(len(p))
	}
	return nil
}
