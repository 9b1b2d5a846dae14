package main

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// inImage is where the Go tree stands in the image.
const inImage = "usr/local/go"

// A layer is a tar that has been written to a file.
type layer struct {
	file      string
	mediaType string
	digest    digest.Digest // of the file
	diffID    digest.Digest // of the plain tar
	size      int64         // of the file
}

// writeLayer puts parts of the tree below root into a tar in dir, gzip or plain.
// Parts that this tree does not have are passed over.
func writeLayer(dir, root string, parts []string, compressed bool) (l layer, err error) {
	f, err := os.CreateTemp(dir, "layer-*.tar")
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum, plain := sha256.New(), sha256.New()
	stored := io.WriteCloser(nopCloser{io.MultiWriter(f, sum)})
	l.mediaType = ocispec.MediaTypeImageLayer
	if compressed {
		stored, l.mediaType = gzip.NewWriter(stored), ocispec.MediaTypeImageLayerGzip
	}
	tw := tar.NewWriter(io.MultiWriter(stored, plain))
	for _, part := range parts {
		// Debian's trees are made of links to elsewhere.
		top, err := filepath.EvalSymlinks(filepath.Join(root, part))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return l, err
		}
		if err := addTree(tw, top, inImage+"/"+part); err != nil {
			return l, err
		}
	}
	if err := errors.Join(tw.Close(), stored.Close()); err != nil {
		return l, err
	}
	info, err := f.Stat()
	if err != nil {
		return l, err
	}
	l.file, l.size = f.Name(), info.Size()
	l.digest, l.diffID = digest.NewDigest(digest.SHA256, sum), digest.NewDigest(digest.SHA256, plain)
	return l, nil
}

// nopCloser leaves what is below it open.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// addTree adds a file or a whole folder under a name.
func addTree(tw *tar.Writer, top, name string) error {
	return filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		return addFile(tw, path, filepath.ToSlash(filepath.Join(name, rel)), e)
	})
}

func addFile(tw *tar.Writer, path, name string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = name, 0, 0, "root", "root"
	if info.IsDir() {
		h.Name += "/"
	}
	if err := tw.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(tw, f)
	return err
}
