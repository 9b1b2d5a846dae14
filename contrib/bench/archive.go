package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An archive is the output of a tool, a tar or a folder, by the digests of what
// is in it: it does not matter what the files are called.
type archive struct {
	files map[digest.Digest]section
	index []byte // index.json, if there is one
}

var _ store = archive{}

// A section is a part of a file.
type section struct {
	path        string
	start, size int64
}

// readArchive reads and hashes everything in a tar or in a folder.
func readArchive(ctx context.Context, path string) (archive, error) {
	a := archive{files: map[digest.Digest]section{}}
	info, err := os.Stat(path)
	if err != nil {
		return a, err
	}
	if info.IsDir() {
		return a, a.addFolder(ctx, path)
	}
	return a, a.addTar(ctx, path)
}

func (a *archive) addTar(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		// archive/tar does not read ahead, so this is where the content begins.
		start, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if err := a.add(ctx, tr, filepath.Base(h.Name), section{path, start, h.Size}); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
}

func (a *archive) addFolder(ctx context.Context, dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path) //nolint:gosec // the folder is what a tool of ours just wrote
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := e.Info()
		if err != nil {
			return err
		}
		return a.add(ctx, f, e.Name(), section{path, 0, info.Size()})
	})
}

func (a *archive) add(ctx context.Context, r io.Reader, name string, at section) error {
	if ctx.Err() != nil { // files are large; Ctrl-C should not wait for all of them
		return ctx.Err()
	}
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		return err
	}
	if n != at.size {
		return io.ErrUnexpectedEOF
	}
	a.files[digest.NewDigest(digest.SHA256, sum)] = at
	if name != "index.json" {
		return nil
	}
	a.index, err = at.read()
	return err
}

// read returns the section whole.
func (s section) read() ([]byte, error) {
	r, err := s.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func (s section) open() (io.ReadCloser, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, s.start, s.size), f}, nil
}

func (a archive) root(ctx context.Context) (ocispec.Descriptor, error) {
	if a.index == nil {
		return ocispec.Descriptor{}, errors.New("the archive has no index.json")
	}
	return imageOf(a.index, func(d ocispec.Descriptor) ([]byte, error) { return readBlob(ctx, a, d) })
}

func (a archive) open(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	at, ok := a.files[d.Digest]
	if !ok {
		return nil, fmt.Errorf("the archive lacks %s", d.Digest)
	}
	return at.open()
}
