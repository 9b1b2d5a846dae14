//go:build linux

package rootfs

import (
	"context"
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
)

var errWhiteout = errors.New("the whiteout names nothing that could be in a layer; the layer is damaged or hostile")

// whiteout is the first pass over a layer: it removes what the layer takes from
// those below. Since nothing of the layer itself is there yet, nothing of it can
// go, wherever in the layer its whiteouts stand.
func (t *Tree) whiteout(_ context.Context, i item) error {
	dir, base := path.Split(i.path)
	if !strings.HasPrefix(base, layerpath.WhiteoutPrefix) || base != layerpath.OpaqueName && strings.HasPrefix(base, layerpath.MetaPrefix) || layerpath.Marked(dir) {
		return nil
	}
	name := strings.TrimPrefix(base, layerpath.WhiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return errWhiteout
	}
	err := t.walk(strings.TrimSuffix(dir, "/"), false)
	if err == nil && base == layerpath.OpaqueName {
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
