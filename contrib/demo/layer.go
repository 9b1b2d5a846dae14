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

	"github.com/opencontainers/go-digest"
)

// inImage is where the Go tree stands in the image.
const inImage = "usr/local/go"

// A layer is a tar that has been written to a file.
type layer struct {
	file   string
	digest digest.Digest // of the plain tar: its diff ID too
	size   int64
}

// writeLayer puts parts of the tree below root into a tar in dir. Parts that
// this tree does not have are passed over.
func writeLayer(dir, root string, parts []string) (l layer, err error) {
	f, err := os.CreateTemp(dir, "layer-*.tar")
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	tw := tar.NewWriter(io.MultiWriter(f, sum))
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
	if err := tw.Close(); err != nil {
		return l, err
	}
	info, err := f.Stat()
	if err != nil {
		return l, err
	}
	return layer{file: f.Name(), digest: digest.NewDigest(digest.SHA256, sum), size: info.Size()}, nil
}

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
