//go:build linux

package rootfs

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	openDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	// maxLinks is how many links on the way to one name are followed, as in
	// Linux.
	maxLinks = 40
	// maxTarget is PATH_MAX of Linux.
	maxTarget = 4096
	// mostDeep is how deep directories may be. No path of Linux leads deeper than
	// 2048, and each takes an open file.
	mostDeep = 2048
	// building is the mode of directories until Finish: nobody else's.
	building = 0o700
)

// open is a directory of the tree that is open.
type open struct {
	*node
	fd int
}

// at is the directory at hand.
func (t *Tree) at() open { return t.chain[len(t.chain)-1] }

// touch tells Finish that the directory at hand is changed.
func (t *Tree) touch() {
	t.at().changed = true
	t.mark()
}

// mark tells Finish to look below the directory at hand.
func (t *Tree) mark() {
	for i := len(t.chain) - 1; i >= 0 && !t.chain[i].below; i-- {
		t.chain[i].below = true
	}
}

// maxDepth leaves half of the files that this process may open: to remove a tree
// takes as many as to make it, and a few more.
func maxDepth() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return mostDeep
	}
	return int(min(mostDeep, l.Cur/2))
}

// cut goes back up to a depth below the top.
func (t *Tree) cut(depth int) {
	for len(t.chain) > depth+1 {
		_ = unix.Close(t.at().fd) // it was only read
		t.chain = t.chain[:len(t.chain)-1]
	}
}

// walk makes the directory of that path the one at hand. Links are followed
// within the tree. With create, what is missing is made; otherwise it is
// unix.ENOENT or unix.ENOTDIR.
func (t *Tree) walk(dir string, create bool) error {
	todo := split(dir)
	same := 0
	for same < len(todo) && same+1 < len(t.chain) && t.chain[same+1].name == todo[same] {
		same++
	}
	t.cut(same)
	todo = todo[same:]
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			t.cut(max(len(t.chain)-2, 0))
			continue
		}
		target, err := t.step(name, create)
		if err != nil {
			return err
		}
		if target == "" {
			continue
		}
		if links++; links > maxLinks {
			return unix.ELOOP
		}
		if strings.HasPrefix(target, "/") {
			t.cut(0)
		}
		todo = append(split(target), todo...)
	}
	return nil
}

func split(p string) []string {
	if p == "" || p == "." {
		return nil
	}
	return strings.Split(p, "/")
}

// step goes into a directory, or returns where the link of that name points.
func (t *Tree) step(name string, create bool) (target string, err error) {
	d := t.at()
	if len(t.chain) > t.depth {
		return "", fmt.Errorf("it is more than %d directories deep", t.depth)
	}
	fd, err := unix.Openat(d.fd, name, openDir, 0)
	switch {
	case err == nil:
		t.push(name, fd)
		return "", nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		if target, err = readlink(d.fd, name); err == nil || !create {
			return target, err
		}
		if err = t.inPlaceOf(name); err != nil { // a file where a directory has to be
			return "", err
		}
		return "", t.into(name)
	case !errors.Is(err, unix.ENOENT), !create:
		return "", err
	}
	if err = t.mkdir(name); err != nil {
		return "", err
	}
	return "", t.into(name)
}

// into makes a directory in the one at hand the one at hand.
func (t *Tree) into(name string) error {
	fd, err := unix.Openat(t.at().fd, name, openDir, 0)
	if err == nil {
		t.push(name, fd)
	}
	return err
}

func (t *Tree) push(name string, fd int) {
	d := t.at()
	n := d.children[name]
	if n == nil {
		n = t.know(name)
	}
	t.chain = append(t.chain, open{n, fd})
}

// know remembers a directory that was made in the one at hand.
func (t *Tree) know(name string) *node {
	d := t.at()
	if d.children == nil {
		d.children = map[string]*node{}
	}
	n := &node{name: strings.Clone(name)}
	d.children[n.name] = n
	return n
}

func (t *Tree) mkdir(name string) error {
	if err := unix.Mkdirat(t.at().fd, name, building); err != nil {
		return err
	}
	if t.at().inherits {
		handle{fd: t.at().fd, name: name}.disinherit()
	}
	t.touch()
	n := t.know(name)
	n.changed, n.below = true, true
	return nil
}

// readlink says where a link points; unix.ENOTDIR for what is no link.
func readlink(dir int, name string) (string, error) {
	buf := make([]byte, maxTarget)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil || n == 0 {
		return "", unix.ENOTDIR
	}
	return string(buf[:n]), nil
}

// remove removes a name from the directory at hand, and all below it.
func (t *Tree) remove(name string) error {
	d := t.at()
	_, directory := d.children[name]
	delete(d.children, name)
	t.touch()
	if directory && t.opts.Overlay && t.putAside(name) == nil {
		return nil
	}
	return removeAt(d.fd, name, &t.hidden)
}

// RemoveAll removes a name in an open directory, and all below it, also
// directories that their own modes protect. What is not there is no error.
func RemoveAll(dir *os.File, name string) error {
	err := removeAt(int(dir.Fd()), name, nil)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// removeAt removes a name and all below it, and counts the files if asked to.
func removeAt(dir int, name string, hidden *Hidden) error {
	hidden.count(dir, name)
	err := unix.Unlinkat(dir, name, 0)
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return err
	}
	fd, err := openOwn(dir, name)
	if err != nil {
		return err
	}
	err = removeIn(fd, hidden)
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

func (h *Hidden) count(dir int, name string) {
	var st unix.Stat_t
	if h == nil || unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	h.Files, h.Bytes = h.Files+1, h.Bytes+st.Size
}

// openOwn opens a directory to remove what is in it, whatever its mode says.
func openOwn(dir int, name string) (int, error) {
	if os.Geteuid() != 0 {
		if fd, err := openHere(dir, name, openDir|unix.O_PATH); err == nil {
			_ = unix.Chmod(procPath(fd, ""), building) // if that fails, the next call says so
			_ = unix.Close(fd)
		}
	}
	return openHere(dir, name, openDir)
}

// openHere opens a directory unless something is mounted there: that is not the
// tree's, and would be emptied with it. Where the kernel has no openat2, or a
// sandbox forbids it, a mount of the same file system is not told apart; removing
// its name then fails.
func openHere(dir int, name string, flags int) (int, error) {
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_NO_XDEV})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		fd, err = openSameDevice(dir, name, flags)
	}
	if errors.Is(err, unix.EXDEV) {
		return -1, fmt.Errorf("something is mounted on %s: %w", short(name), unix.EBUSY)
	}
	return fd, err
}

func openSameDevice(dir int, name string, flags int) (int, error) {
	fd, err := unix.Openat(dir, name, flags, 0)
	if err != nil {
		return -1, err
	}
	var above, here unix.Stat_t
	if err = errors.Join(unix.Fstat(dir, &above), unix.Fstat(fd, &here)); err == nil && above.Dev != here.Dev {
		err = unix.EXDEV
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// removeIn removes all that is in an open directory.
func removeIn(fd int, hidden *Hidden) error {
	names, err := list(fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := removeAt(fd, n, hidden); err != nil {
			return err
		}
	}
	return nil
}

// list returns the names in an open directory.
func list(fd int) ([]string, error) {
	again, err := unix.Openat(fd, ".", openDir, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}
