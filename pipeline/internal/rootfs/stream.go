//go:build linux

package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
)

// opaqueMark is the attribute by which overlayfs hides what lower layers have in a
// directory (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque
// directories"). A character device 0:0 hides a single name.
const opaqueMark = "trusted.overlay.opaque"

// Stream unpacks one layer, by itself, from a plain tar that is read once: Marks
// must be set. After an error the tree is of no use.
func (t *Tree) Stream(ctx context.Context, layer io.Reader) error {
	t.sparse = 0
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(workers())
	t.group = group
	err := t.eachOf(gctx, layer, t.streamed)
	if werr := group.Wait(); werr != nil { // the cause of whatever eachOf then said
		return werr
	}
	return err
}

func (t *Tree) streamed(ctx context.Context, i item) error {
	dir, base := path.Split(i.path)
	switch {
	case i.path == "" && i.Typeflag == tar.TypeDir:
		return nil // the top is the snapshotter's, as containerd has it
	case i.Typeflag == tar.TypeXGlobalHeader, layerpath.Marked(strings.TrimSuffix(dir, "/")):
		return nil
	case strings.HasPrefix(base, layerpath.WhiteoutPrefix):
		return t.hide(i, dir, base)
	}
	return t.entry(ctx, i)
}

// hide makes the marks that a whiteout is in overlayfs. What the layer itself
// brings, before or behind it, is not hidden.
func (t *Tree) hide(i item, dir, base string) error {
	hidden, what := layerpath.Whiteout(i.path)
	if what == layerpath.Void {
		if base == layerpath.WhiteoutPrefix {
			return errWhiteout
		}
		return nil
	}
	if t.opts.Lowest {
		return nil
	}
	if err := t.walk(strings.TrimSuffix(dir, "/"), true); err != nil {
		return err
	}
	if what == layerpath.HidesContent {
		t.touch()
		return unix.Fsetxattr(t.at().fd, opaqueMark, []byte("y"), 0)
	}
	name := layerpath.Base(hidden)
	if name == "." || name == ".." {
		return errWhiteout
	}
	t.touch()
	err := unix.Mknodat(t.at().fd, name, unix.S_IFCHR, 0)
	if errors.Is(err, unix.EEXIST) {
		if t.at().children[name] == nil {
			return nil
		}
		return unix.Setxattr(procPath(t.at().fd, name), opaqueMark, []byte("y"), 0)
	}
	if err != nil {
		return err
	}
	return unix.Fchownat(t.at().fd, name, i.Uid, i.Gid, unix.AT_SYMLINK_NOFOLLOW)
}

// hides says whether a name in an open directory is the mark of a whiteout.
func hides(dir int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// inPlaceOf makes a directory where the layer has hidden what lower layers have:
// the new one shall not show it again.
func (t *Tree) inPlaceOf(name string) error {
	hidden := t.opts.Marks && hides(t.at().fd, name)
	if err := t.remove(name); err != nil {
		return err
	}
	if err := t.mkdir(name); err != nil || !hidden {
		return err
	}
	return unix.Setxattr(procPath(t.at().fd, name), opaqueMark, []byte("y"), 0)
}

// fillNow fills a file from the stream: a small one while the next is read.
func (t *Tree) fillNow(ctx context.Context, i item, fd int) (err error) {
	if i.Size <= bufferSize {
		buf := buffers.Get().(*[]byte)
		content := (*buf)[:i.Size]
		if _, err := io.ReadFull(i.r, content); err != nil {
			buffers.Put(buf)
			return errors.Join(err, unix.Close(fd))
		}
		t.group.Go(func() (err error) {
			defer buffers.Put(buf)
			defer func() { err = errors.Join(err, unix.Close(fd)) }()
			if err = writeAll(fd, content); err == nil {
				err = t.meta(i).apply(t, handle{fd: fd})
			}
			if err != nil {
				return fmt.Errorf("unpack %s: %w", short(i.Name), err)
			}
			return nil
		})
		return nil
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for left := i.Size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := (*buf)[:min(left, bufferSize)]
		if _, err := io.ReadFull(i.r, piece); err != nil {
			return err
		}
		if err := writeAll(fd, piece); err != nil {
			return err
		}
		left -= int64(len(piece))
	}
	return t.meta(i).apply(t, handle{fd: fd})
}

// Implied are the directories, outer ones first, that the layer has entries in and
// no entry for: lower layers may say how they are (Inherit).
func (t *Tree) Implied() []string { return implied(nil, t.top, "") }

func implied(found []string, n *node, at string) []string {
	for name, c := range n.children {
		p := path.Join(at, name)
		if c.meta == nil {
			found = append(found, p)
		}
		found = implied(found, c, p)
	}
	return found
}
