//go:build linux

package rootfs

import (
	"crypto/rand"
	"strconv"

	"golang.org/x/sys/unix"
)

// renew empties the directory at hand by making it anew. The top cannot be.
func (t *Tree) renew(d open) error {
	if len(t.chain) > 1 {
		kept := handle{fd: d.fd}.allAttributes()
		t.cut(len(t.chain) - 2)
		if err := t.remove(d.name); err != nil {
			return err
		}
		if err := t.mkdir(d.name); err != nil {
			return err
		}
		n := t.at().children[d.name]
		n.meta, n.inherits = d.meta, d.inherits
		return kept.giveTo(t, handle{fd: t.at().fd, name: d.name})
	}
	names, err := list(d.fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n == t.trash {
			continue
		}
		if err := t.remove(n); err != nil {
			return err
		}
	}
	return nil
}

// putAside moves a directory out of the way, which is one mark for overlayfs,
// where to delete it would be several calls for each file in it. That it cannot
// (a user namespace, a path of more than 256 bytes) is no failure of the layer.
func (t *Tree) putAside(name string) error {
	top := t.chain[0].fd
	if t.trash == "" {
		made := ".occystrap-" + rand.Text() // no layer can know it
		if err := unix.Mkdirat(top, made, building); err != nil {
			return err
		}
		t.trash = made
	}
	t.asides++
	return unix.Renameat(t.at().fd, name, top, t.trash+"/"+strconv.Itoa(t.asides))
}

// Trash names a directory at the top, where directories of lower layers are that
// have been deleted; "" for none. Once the mount is gone, it is to be removed from
// the layer that is on top, which then is changed: Enter and Finish mend its time.
func (t *Tree) Trash() string { return t.trash }
