package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/internal/rootfs"
	"github.com/occystrap/occystrap/pipeline/scheme/dir"
)

// Prepare unpacks every layer by itself, and makes a delta for what is changed
// later.
func (a *addition) Prepare(ctx context.Context, i dir.Image) (err error) {
	a.image = i
	if err := errors.Join(a.mounter.fits(len(i.Layers)), a.keep()); err != nil {
		return err
	}
	b := &build{addition: a}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.base(); err != nil {
		return err
	}
	seen := map[digest.Digest]int{}
	for _, d := range i.Layers {
		seen[d]++
		temp, err := b.layer(ctx, d)
		if err != nil {
			return fmt.Errorf("unpack layer %s: %w", d, err)
		}
		a.trees = append(a.trees, place{temp, treeName(d, seen[d])})
	}
	if err := b.upper(); err != nil {
		return err
	}
	b.say()
	return nil
}

// say tells what is not there.
func (b *build) say() {
	if b.left != "" {
		b.notes = append(b.notes, "the mounted file system lacks what this user, or overlayfs, cannot have ("+b.left+")")
	}
	for _, n := range b.notes {
		b.cfg.Events.Warn(b.w.Path() + ": " + n)
	}
}

// treeName is where a layer is unpacked. One that is in an image twice is unpacked
// twice, since the same layer is not the same change upon other layers; and
// overlayfs does not take one directory twice.
func treeName(d digest.Digest, time int) string {
	if time == 1 {
		return d.Encoded() + "/" + treePrefix
	}
	return fmt.Sprintf("%s/%s.%d", d.Encoded(), treePrefix, time)
}

const treePrefix = "layer"

// build is the unpacking of one image.
type build struct {
	*addition
	tree   *rootfs.Tree
	lowers []*os.File // the topmost first; of no layers, an empty directory
	left   string
	notes  []string
}

// base is what the lowest layer is unpacked upon: nothing.
func (b *build) base() error {
	l := b.cfg.Limits.WithDefaults()
	temp, f, err := temp(b.w)
	if err != nil {
		return err
	}
	b.lowers = []*os.File{f}
	if len(b.image.Layers) == 0 {
		b.trees = []place{{temp, treePrefix}}
	}
	b.tree, err = rootfs.New(f, rootfs.Options{Entries: l.Entries, Sparse: l.Layer, Overlay: true})
	if err != nil {
		return err
	}
	return b.tree.Close()
}

// layer unpacks one layer into a mount of those below, which puts it into a
// directory of its own.
func (b *build) layer(ctx context.Context, d digest.Digest) (name string, err error) {
	name, upper, err := temp(b.w)
	if err != nil {
		return "", err
	}
	// A mount must be gone before its upper directory is a lower one of the next.
	if err = b.within(upper, func() error { return b.apply(ctx, d) }); err != nil {
		return "", errors.Join(err, upper.Close())
	}
	if len(b.trees) == 0 { // instead of nothing; that would take one of the places
		closeAll(b.lowers...)
		b.lowers = nil
	}
	b.lowers = slices.Insert(b.lowers, 0, upper)
	return name, nil
}

func (b *build) apply(ctx context.Context, d digest.Digest) error {
	file, err := b.w.Layer(d)
	if err != nil {
		return err
	}
	defer file.Close()
	return b.tree.Apply(ctx, file)
}

// within does something in a view of the tree so far; what changes goes into a
// directory.
func (b *build) within(upper *os.File, do func() error) error {
	if err := b.mounted(upper, do); err != nil {
		return err
	}
	trash := b.tree.Trash()
	if trash == "" {
		return nil
	}
	if err := rootfs.RemoveAll(upper, trash); err != nil {
		return err
	}
	return b.enter(upper, func() error { return nil }) // for the time of its top
}

func (b *build) mounted(upper *os.File, do func() error) error {
	_, work, err := temp(b.w)
	if err != nil {
		return err
	}
	defer work.Close()
	return b.mounter.inside(stack{lowers: b.lowers, upper: upper, work: work, scratch: true}, func(in *os.File) error { return b.enter(in, do) })
}

// enter does something in an open directory that shows the tree.
func (b *build) enter(in *os.File, do func() error) error {
	if err := b.tree.Enter(in); err != nil {
		return err
	}
	defer b.tree.Close()
	if err := do(); err != nil {
		return err
	}
	left, err := b.tree.Finish()
	if err == nil {
		b.left = left.String()
	}
	return err
}

// upper makes the directory that changes go to: what is seen at the top of the
// mount is its owner, mode and times. Everything is there now, so config.json is
// made, too.
func (b *build) upper() (err error) {
	b.working.name, b.delta.name = workingName, deltaName
	b.working.temp = b.w.Temp()
	if err := b.w.Root.Mkdir(b.working.temp, 0o700); err != nil {
		return err
	}
	var delta *os.File
	if b.delta.temp, delta, err = temp(b.w); err != nil {
		return err
	}
	defer delta.Close()
	return b.within(delta, b.config)
}

func (b *build) close() error {
	closeAll(b.lowers...)
	if b.tree == nil {
		return nil
	}
	return b.tree.Close()
}
