package dir

import (
	"context"
	"fmt"
	"os"
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
	l := s.cfg.Limits.WithDefaults()
	opts := rootfs.Options{Entries: l.Entries, Sparse: l.Layer, Visible: visible}
	var hidden rootfs.Hidden
	name, what, err := s.session.Unpack(opts, func(tree *rootfs.Tree) error {
		for _, d := range layers {
			if err := s.apply(ctx, tree, d); err != nil {
				return fmt.Errorf("expand layer %s: %w", d, err)
			}
		}
		hidden = tree.Hidden()
		return nil
	})
	if err != nil {
		return "", err
	}
	if what != "" && (!visible || !s.said) {
		s.said = true
		s.cfg.Events.Warn(fmt.Sprintf("%s: the expanded file system lacks what this user, or the disk's file system, cannot make (%s)", s.path, what))
	}
	if what := hidden.String(); what != "" && !visible {
		s.cfg.Events.Detail(fmt.Sprintf("%s: %s", s.path, what))
	}
	return name, nil
}

// apply unpacks a layer.
func (s *sink) apply(ctx context.Context, tree *rootfs.Tree, d digest.Digest) error {
	f, err := s.openLayer(d)
	if err != nil {
		return err
	}
	defer f.Close()
	return tree.Apply(ctx, f)
}

// openLayer opens a layer, whether it came in this run or was there.
func (s *sink) openLayer(d digest.Digest) (*os.File, error) {
	name, ok := s.layers[d]
	if !ok {
		name = s.file(d)
	}
	f, _, err := s.session.openFile(name)
	return f, err
}
