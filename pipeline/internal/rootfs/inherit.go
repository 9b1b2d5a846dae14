//go:build linux

package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Inherit gives directories of a layer, which it has no entries for itself, the
// owners, modes, times and attributes that they have in lower layers, the topmost
// first. Where none has them, or hides them, they stay as they are.
func Inherit(layer *os.File, dirs []string, lowers []*os.File) error {
	for _, d := range dirs {
		to, err := openIn(layer, d, openDir)
		if err != nil {
			return fmt.Errorf("open directory %s: %w", short(d), err)
		}
		err = inherit(layer, to, d, lowers)
		if err = errors.Join(err, unix.Close(to)); err != nil {
			return fmt.Errorf("give directory %s what lower layers say: %w", short(d), err)
		}
	}
	return nil
}

func inherit(layer *os.File, to int, dir string, lowers []*os.File) error {
	for _, l := range lowers {
		from, err := openIn(l, dir, unix.O_PATH|unix.O_CLOEXEC)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil // it is hidden
		}
		if err != nil {
			return err
		}
		err = copyMeta(from, to)
		return errors.Join(err, unix.Close(from))
	}
	return inheritGroup(layer, to, path.Dir(dir))
}

// inheritGroup gives a new directory the group of the one that it is in, where that
// one says so (mkdir(2), set-group-ID).
func inheritGroup(layer *os.File, to int, parent string) error {
	from, err := openIn(layer, parent, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil || st.Mode&unix.S_ISGID == 0 {
		return err
	}
	const same = -1
	return unix.Fchown(to, same, int(st.Gid))
}

// openIn opens a name in a directory as a process would whose root that is.
func openIn(in *os.File, name string, flags int) (int, error) {
	return unix.Openat2(int(in.Fd()), name, &unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_XDEV})
}

// copyMeta gives an open directory what another one has, if that is one.
func copyMeta(from, to int) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	src := handle{fd: from, name: "."}
	for _, name := range src.names() {
		if strings.HasPrefix(name, "trusted.") {
			continue
		}
		buf := make([]byte, maxAttribute)
		n, err := unix.Getxattr(procPath(from, ""), name, buf)
		if err != nil {
			continue // gone, or not for us
		}
		if err := unix.Fsetxattr(to, name, buf[:n], 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return err
		}
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	return handle{fd: to}.touch(&[2]unix.Timespec{st.Atim, st.Mtim})
}
