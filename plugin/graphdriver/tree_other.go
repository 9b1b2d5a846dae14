//go:build !linux

package graphdriver

import (
	"fmt"
	"os"
	"path"
)

// A tree is the folder of a layer's contents, for tests: Docker's overlay2 is
// Linux's.
type tree struct{ *os.Root }

func openTree(in *os.Root, name string) (*tree, error) {
	r, err := in.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &tree{r}, nil
}

func (t *tree) open(name string) (file, int64, error) {
	f, err := t.Open(path.Clean("/" + name)[1:])
	if err != nil {
		return file{}, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is no regular file: %w", errDamaged)
	}
	if err != nil {
		_ = f.Close() // it was only read
		return file{}, 0, err
	}
	return file{f}, info.Size(), nil
}

// A file is one that is open.
type file struct{ f *os.File }

func (f file) read(p []byte) (int, error) { return f.f.Read(p) }

func (f file) close() { _ = f.f.Close() } // it was only read

func openFile(in *os.Root, name string) (*os.File, error) { return in.Open(name) }
