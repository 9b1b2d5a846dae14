package tarball

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// volumes is one archive in several files of the same size, but for the last one.
// Any place of it may be written, in any order; a file is made when its first
// byte comes. Until they are published the files have temporary names.
type volumes struct {
	dir  string
	size int64 // of a volume, in bytes
	mark string

	mu    sync.Mutex
	files []*os.File // nil: nothing of it was written yet
	at    int64      // where the next Write goes: for archives that are compressed
}

var (
	_ spread    = (*volumes)(nil)
	_ io.Writer = (*volumes)(nil)
)

// mostVolumes bounds how many files an archive becomes: what a slip of the pen in
// split= would otherwise fill a disk with.
// Beyond three digits their names would not sort as they follow one another.
const mostVolumes = 999

func newVolumes(dir string, size int64) *volumes {
	return &volumes{dir: dir, size: size, mark: rand.Text()}
}

// volume is the i-th file, which is made if it is not there.
func (v *volumes) volume(i int64) (*os.File, error) {
	if i >= mostVolumes {
		return nil, fmt.Errorf("it would be more than %d volumes; give a larger size to split=", mostVolumes)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for int64(len(v.files)) <= i {
		v.files = append(v.files, nil)
	}
	if v.files[i] == nil {
		name := filepath.Join(v.dir, fmt.Sprintf(".occystrap-%s.%03d.tmp", v.mark, i+1))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666) //nolint:gosec // less the umask, as any file that a user asks for
		if err != nil {
			return nil, err
		}
		v.files[i] = f
	}
	return v.files[i], nil
}

// WriteAt writes p at off of the whole.
func (v *volumes) WriteAt(p []byte, off int64) (n int, err error) {
	return v.pieces(p, off, true, func(f *os.File, p []byte, off int64) (int, error) { return f.WriteAt(p, off) })
}

// ReadAt reads what was written at off of the whole.
func (v *volumes) ReadAt(p []byte, off int64) (n int, err error) {
	return v.pieces(p, off, false, func(f *os.File, p []byte, off int64) (int, error) { return f.ReadAt(p, off) })
}

// Write writes behind what was written before.
func (v *volumes) Write(p []byte) (int, error) {
	n, err := v.WriteAt(p, v.at)
	v.at += int64(n)
	return n, err
}

// pieces cuts p where a volume ends.
func (v *volumes) pieces(p []byte, off int64, grow bool, do func(f *os.File, p []byte, off int64) (int, error)) (n int, err error) {
	for len(p) > 0 {
		i, at := off/v.size, off%v.size
		piece := p[:min(int64(len(p)), v.size-at)]
		if !grow && i >= v.count() {
			return n, io.EOF
		}
		f, err := v.volume(i)
		if err != nil {
			return n, err
		}
		m, err := do(f, piece, at)
		n += m
		if err != nil {
			return n, err
		}
		p, off = p[m:], off+int64(m)
	}
	return n, nil
}

// Truncate cuts the whole after size bytes.
func (v *volumes) Truncate(size int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	last := (size + v.size - 1) / v.size
	for i := int64(len(v.files)) - 1; i >= last; i-- {
		if f := v.files[i]; f != nil {
			if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
				return err
			}
		}
		v.files = v.files[:i]
	}
	if last == 0 || last > int64(len(v.files)) {
		return nil
	}
	return v.files[last-1].Truncate(size - (last-1)*v.size)
}

func (v *volumes) count() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return int64(len(v.files))
}

// close closes the files and removes those that still have temporary names.
func (v *volumes) close() error {
	var errs []error
	for _, f := range v.files {
		if f == nil {
			continue
		}
		if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
		if err := os.Remove(f.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	v.files = nil
	return errors.Join(errs...)
}
