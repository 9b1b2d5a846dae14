//go:build linux

package rootfs

import (
	"context"
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// The names of whiteouts (image-spec, layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	opaque         = ".wh..wh..opq"
	// metaPrefix is that of aufs's own files, which never belong to an image.
	metaPrefix = ".wh..wh."
)

var errWhiteout = errors.New("the whiteout names nothing that could be in a layer; the layer is damaged or hostile")

// whiteout is the first pass over a layer: it removes what the layer takes from
// those below. Since nothing of the layer itself is there yet, nothing of it can
// go, wherever in the layer its whiteouts stand.
func (t *Tree) whiteout(_ context.Context, i item) error {
	dir, base := path.Split(i.path)
	if !strings.HasPrefix(base, whiteoutPrefix) || base != opaque && strings.HasPrefix(base, metaPrefix) || marked(dir) {
		return nil
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return errWhiteout
	}
	err := t.walk(strings.TrimSuffix(dir, "/"), false)
	if err == nil && base == opaque {
		err = t.empty()
	} else if err == nil {
		err = t.remove(name)
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // there is nothing to hide
	}
	return err
}

// empty removes all that is in the directory at hand.
func (t *Tree) empty() error {
	d := t.at()
	if t.opts.Overlay {
		return t.renew(d)
	}
	d.children = nil
	t.touch()
	return removeIn(d.fd, &t.hidden)
}

// marked says whether a path is a whiteout's, or lies below where one would be.
func marked(p string) bool {
	return strings.HasPrefix(p, whiteoutPrefix) || strings.Contains(p, "/"+whiteoutPrefix)
}
