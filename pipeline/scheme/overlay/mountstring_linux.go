package overlay

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mountString is for kernels without lowerdir+, where fsconfig takes 255 bytes and
// mount(2) a page. mount(2) knows no mounts without a place: it gets a directory of
// ours, is copied from there, and taken away at once.
func (m *mounter) mountString(s stack) (mount *os.File, err error) {
	in, name, err := m.spare()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	place := nameOf(in) + "/" + name
	if err := unix.Mount(source, place, "overlay", 0, m.data(s)); err != nil {
		return nil, errMount(err, "")
	}
	fd, err := unix.OpenTree(int(in.Fd()), name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err == nil {
		mount = os.NewFile(uintptr(fd), mountPoint)
	} else {
		err = refused(err)
	}
	if uerr := unix.Unmount(place, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); uerr != nil {
		err = errors.Join(err, fmt.Errorf("unmount: %w", uerr))
	}
	return mount, err
}

// maxString is how many lower layers have room in the option string of mount(2),
// a page less its end.
func maxString() int {
	const (
		name   = len("/proc/self/fd/12345:")
		others = 256 // upper and work directory, all options
	)
	return (os.Getpagesize() - 1 - others) / name
}

// data is the option string of mount(2). Names are /proc/self/fd/N: without
// anything that has to be escaped.
func (m *mounter) data(s stack) string {
	lowers := make([]string, len(s.lowers))
	for i, l := range s.lowers {
		lowers[i] = nameOf(l)
	}
	all := []option{{"lowerdir", strings.Join(lowers, ":")}, {"upperdir", nameOf(s.upper)}, {"workdir", nameOf(s.work)}}
	var parts []string
	for _, o := range append(all, m.options(s.scratch)...) {
		part := o.key
		if o.value != "" {
			part += "=" + o.value
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ",")
}
