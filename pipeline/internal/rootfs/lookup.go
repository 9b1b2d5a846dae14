//go:build linux

package rootfs

import (
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Open opens a regular file of the tree for reading, as a process would in a
// container: links are followed and end within the tree. It is called before
// Finish, while no directory's own mode shuts this user out.
func (t *Tree) Open(name string) (*os.File, error) {
	for range maxLinks {
		dir, base := path.Split(strings.TrimPrefix(path.Clean("/"+name), "/"))
		if err := t.walk(strings.TrimSuffix(dir, "/"), false); err != nil {
			return nil, err
		}
		f, target, err := openFile(t.at().fd, base, name)
		if err != nil || f != nil {
			return f, err
		}
		if name = target; !strings.HasPrefix(target, "/") {
			name = t.where() + "/" + target
		}
	}
	return nil, unix.ELOOP
}

// openFile opens a regular file in an open directory, or says where the link of
// that name points. Nothing else is opened, since that alone can have effects: a
// watchdog starts, a tape rewinds, a pipe blocks.
func openFile(dir int, base, name string) (f *os.File, target string, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, "", err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err = readlink(dir, base)
		return nil, target, err
	case unix.S_IFREG:
		fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, "", err
		}
		return os.NewFile(uintptr(fd), name), "", nil
	}
	return nil, "", fmt.Errorf("%s is not a regular file", short(name))
}

// where is the path of the directory at hand.
func (t *Tree) where() string {
	var names []string
	for _, d := range t.chain[1:] {
		names = append(names, d.name)
	}
	return strings.Join(names, "/")
}
