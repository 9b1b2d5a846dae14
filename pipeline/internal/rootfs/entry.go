//go:build linux

package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// entry is the second pass over a layer: it makes what the layer brings.
func (t *Tree) entry(ctx context.Context, i item) error {
	switch {
	case i.Typeflag == tar.TypeXGlobalHeader:
		return nil
	case !t.opts.Visible && layerpath.Marked(i.path):
		return nil
	case i.path == "":
		if i.Typeflag != tar.TypeDir {
			return errors.New("it would replace the directory itself; the layer is damaged or hostile")
		}
		t.top.meta = newMeta(i) // Finish gives it in any case, to each layer's top
		return nil
	case i.Typeflag == tar.TypeLink:
		return t.hardlink(i)
	}
	dir, name := path.Split(i.path)
	if err := t.walk(strings.TrimSuffix(dir, "/"), true); err != nil {
		return err
	}
	switch i.Typeflag {
	case tar.TypeDir:
		return t.directory(i, name)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return t.file(ctx, i, name)
	case tar.TypeSymlink:
		if i.Linkname == "" {
			return errors.New("a symbolic link to nothing; the layer is damaged")
		}
		err := t.replacing(name, func(dir int) error { return unix.Symlinkat(i.Linkname, dir, name) })
		return t.named(i, name, err)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return t.device(i, name)
	}
	t.leaveOut("entries of an unknown type", i.path)
	return nil
}

// replacing makes a name in the directory at hand, in place of what has it.
func (t *Tree) replacing(name string, create func(dir int) error) error {
	t.touch()
	err := create(t.at().fd)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := t.remove(name); err != nil {
		return err
	}
	return create(t.at().fd)
}

// directory makes a directory, or takes the one that is there.
func (t *Tree) directory(i item, name string) error {
	d := t.at()
	fresh := d.children[name] == nil
	if fresh {
		t.touch()
		err := t.mkdir(name)
		if errors.Is(err, unix.EEXIST) {
			err = t.inPlaceOf(name)
		}
		if err != nil {
			return err
		}
	}
	n := d.children[name]
	n.changed, n.below = true, true
	t.mark()
	n.meta = t.meta(i)
	return n.attributes(t, handle{fd: d.fd, name: name}, fresh)
}

// file makes a regular file. What has its name is removed first and never
// written to: another name of it, a hard link, keeps the old content.
func (t *Tree) file(ctx context.Context, i item, name string) error {
	fd := -1
	err := t.replacing(name, func(dir int) (err error) {
		const create = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err = unix.Openat(dir, name, create, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	if t.at().inherits {
		handle{fd: fd}.disinherit()
	}
	if tarstream.Sparse(i.Header) {
		return t.fill(ctx, i, fd)
	}
	if i.layer == nil {
		return t.fillNow(ctx, i, fd)
	}
	t.group.Go(func() error {
		if err := t.fill(ctx, i, fd); err != nil {
			return fmt.Errorf("unpack %s: %w", short(i.Name), err)
		}
		return nil
	})
	return nil
}

// hardlink gives a file another name. The target is a name as it stands in the
// layers; a link as its last component is linked itself, not followed.
func (t *Tree) hardlink(i item) error {
	target := strings.TrimPrefix(path.Clean("/"+i.Linkname), "/")
	if target == i.path {
		return nil
	}
	if target == "" {
		return errors.New("a hard link to the top directory; the layer is damaged or hostile")
	}
	dir, from := path.Split(target)
	if err := t.walk(strings.TrimSuffix(dir, "/"), false); err != nil {
		return t.noTarget(i, fmt.Errorf("its target %s: %w", short(i.Linkname), err))
	}
	was := t.at()
	fd, err := unix.FcntlInt(uintptr(was.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	dir, name := path.Split(i.path)
	if err := t.walk(strings.TrimSuffix(dir, "/"), true); err != nil {
		return err
	}
	if t.at().node == was.node && name == from {
		return nil // the same by way of a link
	}
	if err := t.replacing(name, func(to int) error { return unix.Linkat(fd, from, to, name, 0) }); err != nil {
		return t.noTarget(i, fmt.Errorf("link to %s: %w", short(i.Linkname), err))
	}
	return nil
}

// leaveOut leaves out a whole entry.
func (t *Tree) leaveOut(what, name string) {
	t.left.add(what, name)
	t.lacks = true
}

// noTarget leaves a hard link out whose target may lie in a lower layer, where
// there is none, or may have been left out itself.
func (t *Tree) noTarget(i item, err error) error {
	switch {
	case !errors.Is(err, unix.ENOENT):
		return err
	case t.opts.Visible:
		t.left.add("hard links to lower layers", i.path)
		return nil
	case t.lacks:
		t.left.add("hard links to what is left out", i.path)
		return nil
	}
	return err
}

// device makes a device or a pipe. Only root may make devices.
func (t *Tree) device(i item, name string) error {
	mode := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[i.Typeflag]
	number := 0
	if i.Typeflag != tar.TypeFifo {
		number = int(unix.Mkdev(uint32(i.Devmajor), uint32(i.Devminor)))
	}
	err := t.replacing(name, func(dir int) error { return unix.Mknodat(dir, name, mode|0o600, number) })
	if errors.Is(err, unix.EPERM) && i.Typeflag != tar.TypeFifo && !t.opts.Marks {
		t.leaveOut("devices", i.path)
		return nil
	}
	return t.named(i, name, err)
}

// named gives what has no content its owner, mode and times.
func (t *Tree) named(i item, name string, err error) error {
	if err != nil {
		return err
	}
	h := handle{fd: t.at().fd, name: name, link: i.Typeflag == tar.TypeSymlink}
	if t.at().inherits && !h.link {
		h.disinherit()
	}
	return t.meta(i).apply(t, h)
}
