package tarball

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/internal/filelock"
)

// volumeTarget is an archive in volumes, FILE.001 and so on, that appear with
// their sums when all of it is complete.
type volumeTarget struct {
	path   string
	size   int64 // of a volume, in bytes
	c      codec.Compression
	final  string // the path with symbolic links followed
	v      *volumes
	stream streamTarget
}

func (t *volumeTarget) open() (medium, error) {
	var err error
	if t.final, err = follow(t.path); err != nil {
		return medium{}, err
	}
	info, err := os.Stat(t.final)
	if err == nil && !info.Mode().IsRegular() {
		return medium{}, errors.New("it is there and is no file; name one that can be written with split=")
	}
	dir := filepath.Dir(t.final)
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return medium{}, fmt.Errorf("the directory %s is not there; make it first", dir)
	}
	t.v = newVolumes(dir, t.size)
	if t.c == codec.Plain {
		return medium{file: t.v}, nil
	}
	t.stream = streamTarget{w: t.v, c: t.c}
	return t.stream.open()
}

// publish hashes the volumes and gives them their names. What had these names
// before is put aside until all of the new have theirs.
func (t *volumeTarget) publish() error {
	if err := t.stream.publish(); err != nil {
		return err
	}
	hashes, err := t.v.hash()
	if err != nil {
		return plainError(err)
	}
	lock, err := lockDir(t.v.dir)
	if err != nil {
		return err
	}
	defer func() { _ = filelock.Unlock(lock) }()
	ex := &exchange{dir: t.v.dir, mark: t.v.mark}
	err = t.rename(ex, hashes)
	if err != nil {
		return errors.Join(plainError(err), ex.undo())
	}
	t.v.files = nil
	ex.done()
	return syncDir(t.v.dir)
}

func (t *volumeTarget) rename(ex *exchange, hashes [][]byte) error {
	base := filepath.Base(t.final)
	had, err := readSums(t.v.dir)
	if err != nil {
		return err
	}
	old, err := volumesOf(t.final)
	if err != nil {
		return err
	}
	// An archive of the same name in one piece would be read in place of these.
	for _, name := range append(old, base) {
		if err := ex.aside(name); err != nil {
			return err
		}
	}
	var names []string
	for i, f := range t.v.files {
		if err := f.Close(); err != nil {
			return err
		}
		names = append(names, volumeName(base, i+1))
		if err := ex.rename(filepath.Base(f.Name()), names[i]); err != nil {
			return err
		}
	}
	temp := ".occystrap-" + t.v.mark + ".sums.tmp"
	if err := os.WriteFile(filepath.Join(t.v.dir, temp), had.with(base, names, hashes), 0o666); err != nil { //nolint:gosec // less the umask, as the volumes
		return errors.Join(err, os.Remove(filepath.Join(t.v.dir, temp)))
	}
	if err := ex.rename(temp, sumsName); err != nil {
		return errors.Join(err, os.Remove(filepath.Join(t.v.dir, temp)))
	}
	return nil
}

func (t *volumeTarget) close() error {
	if t.v == nil {
		return nil
	}
	return t.v.close()
}

// lockDir keeps runs apart that write into one SHA256SUMS.
func lockDir(dir string) (*os.File, error) {
	return filelock.Wait(context.Background(), func() (*os.File, bool, error) {
		d, err := os.Open(dir)
		if err != nil {
			return nil, false, err
		}
		got, err := filelock.Try(d)
		if !got || err != nil {
			return nil, false, errors.Join(err, d.Close())
		}
		return d, true, nil
	})
}

// hash computes the sums of the volumes, several at once. They are read once
// more: their bytes came in any order.
func (v *volumes) hash() ([][]byte, error) {
	out := make([][]byte, len(v.files))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range v.files {
		if f == nil {
			return nil, fmt.Errorf("volume %d has no content", i+1)
		}
		g.Go(func() (err error) {
			if out[i], err = hashFile(f); err == nil {
				err = f.Sync() // before they have their names, and the ledger tells of them
			}
			return err
		})
	}
	return out, g.Wait()
}

func hashFile(f io.ReaderAt) ([]byte, error) {
	h := sha256.New()
	_, err := io.CopyBuffer(h, struct{ io.Reader }{io.NewSectionReader(f, 0, 1<<62)}, make([]byte, bufferSize))
	return h.Sum(nil), err
}

// An exchange gives files of a directory new names, and the old ones back where
// one cannot be given.
type exchange struct {
	dir, mark string
	moved     [][2]string // from, to
	old       []string    // put aside
}

func (e *exchange) rename(from, to string) error {
	if to == sumsName {
		if err := e.aside(to); err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(e.dir, from), filepath.Join(e.dir, to)); err != nil {
		return err
	}
	e.moved = append(e.moved, [2]string{from, to})
	return nil
}

// aside gives a file a temporary name, if it is there.
func (e *exchange) aside(name string) error {
	temp := fmt.Sprintf(".occystrap-%s.old%03d.tmp", e.mark, len(e.old)+1)
	err := os.Rename(filepath.Join(e.dir, name), filepath.Join(e.dir, temp))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		e.moved, e.old = append(e.moved, [2]string{name, temp}), append(e.old, temp)
	}
	return err
}

func (e *exchange) undo() error {
	var errs []error
	for i := len(e.moved) - 1; i >= 0; i-- {
		errs = append(errs, os.Rename(filepath.Join(e.dir, e.moved[i][1]), filepath.Join(e.dir, e.moved[i][0])))
	}
	e.moved, e.old = nil, nil
	return errors.Join(errs...)
}

// done removes what was replaced.
func (e *exchange) done() {
	for _, name := range e.old {
		_ = os.Remove(filepath.Join(e.dir, name)) // the new ones are there: what stays is waste
	}
}
