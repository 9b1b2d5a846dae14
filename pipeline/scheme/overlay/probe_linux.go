package overlay

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline/scheme/dir"
)

// probe finds out how to mount here, by doing it: a file and a directory are
// deleted through a small stack, and the directory made again. It is done before
// the source is opened, so that nothing travels in vain.
func probe(w *dir.Workspace, ways []way) (*mounter, error) {
	if ways == nil {
		ways = allWays
	}
	var first error
	for _, way := range ways {
		for _, userxattr := range []bool{false, true} {
			for _, volatile := range []bool{true, false} { // Linux 5.10
				m := &mounter{way: way, userxattr: userxattr, volatile: volatile, spare: func() (*os.File, string, error) { return spare(w) }}
				err := m.try(w)
				if err == nil || errors.Is(err, errPrivilege) {
					return m, err
				}
				if first == nil { // the newest way tells most
					first = err
				}
			}
		}
	}
	return nil, fmt.Errorf("the file system of the directory does not do for overlayfs (it may be overlayfs itself, or NFS): %w; "+
		"name a directory on ext4, xfs, btrfs or tmpfs, or write dir://DIR?expand=true", first)
}

// try mounts a stack and looks whether what is deleted is gone.
func (m *mounter) try(w *dir.Workspace) error {
	lower, upper, work, err := three(w)
	if err != nil {
		return err
	}
	defer closeAll(lower, upper, work)
	const file, folder = "file", "dir"
	if err := errors.Join(touch(lower, file), unix.Mkdirat(int(lower.Fd()), folder, 0o700), touch(lower, folder+"/"+file)); err != nil {
		return err
	}
	return m.inside(stack{lowers: []*os.File{lower}, upper: upper, work: work, scratch: true}, func(in *os.File) error {
		return deletes(in, file, folder)
	})
}

// deletes deletes a file and a directory with one of the same name in it, makes
// the directory again, and wants the files gone.
func deletes(in *os.File, file, folder string) error {
	fd := int(in.Fd())
	for _, err := range []error{
		unix.Unlinkat(fd, file, 0), unix.Unlinkat(fd, folder+"/"+file, 0),
		unix.Unlinkat(fd, folder, unix.AT_REMOVEDIR), unix.Mkdirat(fd, folder, 0o700),
	} {
		if err != nil {
			return fmt.Errorf("delete a file of a lower layer: %w", err)
		}
	}
	var st unix.Stat_t
	for _, name := range []string{file, folder + "/" + file} {
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); !errors.Is(err, unix.ENOENT) {
			return errors.New("a file of a lower layer cannot be deleted")
		}
	}
	return nil
}

func touch(in *os.File, name string) error {
	fd, err := unix.Openat(int(in.Fd()), name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// three makes three empty directories.
func three(w *dir.Workspace) (a, b, c *os.File, err error) {
	var made [3]*os.File
	for i := range made {
		if _, made[i], err = temp(w); err != nil {
			closeAll(made[:i]...)
			return nil, nil, nil, err
		}
	}
	return made[0], made[1], made[2], nil
}

// temp makes an empty directory with a temporary name, and opens it.
func temp(w *dir.Workspace) (name string, f *os.File, err error) {
	name = w.Temp()
	if err := w.Root.Mkdir(name, 0o700); err != nil {
		return "", nil, err
	}
	f, err = w.Root.Open(name)
	return name, f, err
}

// spare makes an empty directory that can be mounted on: an open directory, and
// its name there.
func spare(w *dir.Workspace) (in *os.File, name string, err error) {
	outer, in, err := temp(w)
	if err != nil {
		return nil, "", err
	}
	const inner = "mount"
	if err := w.Root.Mkdir(outer+"/"+inner, 0o700); err != nil {
		return nil, "", errors.Join(err, in.Close())
	}
	return in, inner, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close() // directories, opened to be named
	}
}
