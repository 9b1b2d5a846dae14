package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/internal/rootfs"
)

// treeName is the directory of an image's unpacked file system.
func treeName(file string) string { return strings.TrimSuffix(file, ".json") }

// unpack puts the file system of an image under a temporary name.
func (s *sink) unpack(ctx context.Context, i plainImage) (name string, err error) {
	return s.tree(ctx, i.layers, false)
}

// unpackLayers puts each layer of an image by itself, whiteouts visible, under a
// temporary name: those that are not there yet.
func (s *sink) unpackLayers(ctx context.Context, i plainImage) error {
	for _, d := range i.layers {
		if _, err := s.session.root.Lstat(layerTree(d)); err == nil || s.trees[d] != "" {
			continue
		}
		name, err := s.tree(ctx, []digest.Digest{d}, true)
		if err != nil {
			return err
		}
		s.trees[d] = name
	}
	return nil
}

// layerTree is the directory of an unpacked layer, beside its layer.tar.
func layerTree(d digest.Digest) string { return d.Encoded() + "/layer" }

// tree unpacks layers upon one another.
func (s *sink) tree(ctx context.Context, layers []digest.Digest, visible bool) (name string, err error) {
	name = s.session.temp()
	if err := s.session.root.Mkdir(name, 0o700); err != nil {
		return "", plainError(err)
	}
	dir, err := s.session.root.Open(name)
	if err != nil {
		return "", plainError(err)
	}
	defer dir.Close()
	l := s.cfg.Limits.WithDefaults()
	tree, err := rootfs.New(dir, rootfs.Options{Entries: l.Entries, Sparse: l.Layer, Visible: visible})
	if err != nil {
		return "", err
	}
	defer tree.Close()
	for _, d := range layers {
		if err := s.apply(ctx, tree, d); err != nil {
			return "", fmt.Errorf("expand layer %s: %w", d, err)
		}
	}
	left, err := tree.Finish()
	if err != nil {
		return "", err
	}
	if what := left.String(); what != "" && (!visible || !s.said) {
		s.said = true
		s.cfg.Events.Warn(fmt.Sprintf("%s: the expanded file system lacks what this user, or the disk's file system, cannot make (%s)", s.path, what))
	}
	if what := tree.Hidden().String(); what != "" && !visible {
		s.cfg.Events.Detail(fmt.Sprintf("%s: %s", s.path, what))
	}
	return name, nil
}

// apply unpacks a layer, whether it came in this run or was there.
func (s *sink) apply(ctx context.Context, tree *rootfs.Tree, d digest.Digest) error {
	name, ok := s.layers[d]
	if !ok {
		name = s.file(d)
	}
	f, _, err := s.session.openFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return tree.Apply(ctx, f)
}

// placeTree gives a finished tree its name, in place of the one that has it:
// that one goes aside for a moment, and is removed with the session.
func (s *session) placeTree(from, to string) error {
	if err := s.move(to, s.temp()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return plainError(err)
	}
	return plainError(s.move(from, to))
}

// move renames a directory, also one that its own mode protects from this user.
func (s *session) move(from, to string) error {
	info, err := s.root.Lstat(from)
	if err != nil {
		return err
	}
	if info.Mode()&0o200 != 0 || !info.IsDir() {
		return s.root.Rename(from, to)
	}
	if err := s.root.Chmod(from, 0o700); err != nil {
		return err
	}
	if err := s.root.Rename(from, to); err != nil {
		return err
	}
	return s.root.Chmod(to, info.Mode())
}

// removeTree removes a directory and all below it, also what its own modes
// protect from this user.
func (s *session) removeTree(name string) error {
	top, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	return rootfs.RemoveAll(top, name)
}
