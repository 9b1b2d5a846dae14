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

// Open opens a regular file of the tree for reading, as a process would in a
// container: links are followed and end within the tree. It is called before
// Finish, while no directory's own mode shuts this user out.
func (t *Tree) Open(name string) (*os.File, error) {
	for range maxLinks {
		dir, base := path.Split(strings.TrimPrefix(path.Clean("/"+name), "/"))
		if err := t.walk(strings.TrimSuffix(dir, "/"), false); err != nil {
			return nil, err
		}
		// A pipe would block without O_NONBLOCK, whoever put it there.
		const read = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
		fd, err := unix.Openat(t.at().fd, base, read, 0)
		if err == nil {
			return regular(fd, name)
		}
		target := ""
		if errors.Is(err, unix.ELOOP) {
			target, err = readlink(t.at().fd, base)
		}
		if err != nil {
			return nil, err
		}
		if name = target; !strings.HasPrefix(target, "/") {
			name = t.where() + "/" + target
		}
	}
	return nil, unix.ELOOP
}

// where is the path of the directory at hand.
func (t *Tree) where() string {
	var names []string
	for _, d := range t.chain[1:] {
		names = append(names, d.name)
	}
	return strings.Join(names, "/")
}

func regular(fd int, name string) (*os.File, error) {
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", short(name))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
