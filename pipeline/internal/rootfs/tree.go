//go:build linux

package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// A Tree is a directory that layers are unpacked into. It is used by one
// goroutine.
type Tree struct {
	opts   Options
	left   LeftOut
	hidden Hidden
	root   bool  // this user may give files away
	sparse int64 // bytes of the sparse files of this layer so far
	lacks  bool  // entries were left out, which hard links may name
	depth  int   // how deep directories may be
	top    *node
	chain  []open // the directory at hand: from the top down, without links
	group  *errgroup.Group
	trash  string // at the top; "": there is none yet
	asides int    // directories that were put there
}

// A node is a directory of the tree. All of them were made here, so all are
// known; what is no directory is not.
type node struct {
	name     string
	children map[string]*node
	meta     *meta // nil: no layer says
	// inherits: it has a default ACL, which the kernel gives to what is made in it.
	inherits bool
	// changed: Finish has to give it its metadata; below: or one below it.
	changed, below bool
}

// New unpacks into an open directory, which is empty and stays the caller's.
func New(dir *os.File, opts Options) (*Tree, error) {
	t := &Tree{opts: opts, root: os.Geteuid() == 0, top: &node{}, depth: maxDepth()}
	return t, t.Enter(dir)
}

// Enter goes on, after Close, in another open directory that shows the same
// tree: a mount of what was unpacked so far, with a layer of its own on top. What
// Finish then changes are the directories that were changed since, and the top,
// which each layer has. ACLs that the directory has from the one above it are taken
// away, or all files would get them.
func (t *Tree) Enter(dir *os.File) error {
	fd, err := unix.Openat(int(dir.Fd()), ".", openDir, 0)
	if err != nil {
		return err
	}
	t.chain = []open{{t.top, fd}}
	t.trash = ""
	handle{fd: fd}.disinherit()
	t.touch()
	return nil
}

// Apply unpacks a layer, a plain tar, upon those before. After an error the tree
// is of no use.
func (t *Tree) Apply(ctx context.Context, layer *os.File) error {
	if !t.opts.Visible {
		if err := t.each(ctx, layer, t.whiteout); err != nil {
			return err
		}
	}
	t.sparse = 0
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(workers())
	t.group = group
	err := t.each(gctx, layer, t.entry)
	if werr := group.Wait(); werr != nil { // the cause of whatever each then said
		return werr
	}
	return err
}

// An item is one entry of a layer and where its content lies.
type item struct {
	*tar.Header
	path  string // clean, without a leading slash; "" for the top
	layer *os.File
	at    int64
	r     io.Reader // the content, holes filled in
}

// each hands all entries of a layer to do, with where their content lies.
func (t *Tree) each(ctx context.Context, layer *os.File, do func(context.Context, item) error) error {
	s := &section{f: layer}
	return t.eachOf(ctx, s, func(ctx context.Context, i item) error {
		i.layer, i.at = layer, s.pos
		return do(ctx, i)
	})
}

// eachOf hands all entries of a layer, which is read once, to do.
func (t *Tree) eachOf(ctx context.Context, layer io.Reader, do func(context.Context, item) error) error {
	r := tar.NewReader(layer)
	for n := int64(1); ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("read entry %d: %w", n, err)
		}
		if t.opts.Entries > 0 && n > t.opts.Entries {
			return fmt.Errorf("it has more than %d entries (raise it with --max-entries)", t.opts.Entries)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		i := item{Header: h, path: strings.TrimPrefix(path.Clean("/"+h.Name), "/"), r: r}
		if err := do(ctx, i); err != nil {
			return fmt.Errorf("unpack %s: %w", short(h.Name), err)
		}
	}
}

// Finish gives all directories that were changed their owners, modes and times,
// and says what was left out.
func (t *Tree) Finish() (*LeftOut, error) {
	t.cut(0)
	return &t.left, t.finish(t.chain[0])
}

func (t *Tree) finish(d open) error {
	for _, c := range d.children {
		if !c.below {
			continue
		}
		fd, err := unix.Openat(d.fd, c.name, openDir, 0)
		if err != nil {
			return fmt.Errorf("finish %s: %w", short(c.name), err)
		}
		err = t.finish(open{c, fd})
		if err = errors.Join(err, unix.Close(fd)); err != nil {
			return err
		}
	}
	was := d.changed
	d.changed, d.below = false, false
	if !was || t.opts.Marks && d.node == t.top {
		return nil
	}
	if d.meta == nil {
		return unix.Fchmod(d.fd, 0o755)
	}
	if err := d.meta.apply(t, handle{fd: d.fd}); err != nil {
		return fmt.Errorf("finish %s: %w", short(d.meta.path), err)
	}
	return nil
}

// Hidden says what later layers took from earlier ones so far.
func (t *Tree) Hidden() Hidden { return t.hidden }

// Close lets go of the directory. After Close it is harmless.
func (t *Tree) Close() error {
	if len(t.chain) == 0 {
		return nil
	}
	t.cut(0)
	fd := t.chain[0].fd
	t.chain = nil
	return unix.Close(fd)
}
