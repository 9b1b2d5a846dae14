package graphdriver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	readOnly = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	// beneath: no name leads out of the tree or through a link, a mount or /proc.
	beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
	// within: links end within the tree, as they do in the container and did when
	// Docker unpacked the layer.
	within = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
	// mostTries is how often a name is looked up again that changes meanwhile.
	mostTries = 8
)

// A tree is the folder of a layer's contents. Names in it are a stranger's: they
// come from the tar.
type tree struct {
	dir  *os.File
	root *os.Root // for kernels without openat2; opened when it is needed
}

// atimes says that this process may not open files without changing the time of
// their last access, which is a write: only their owner may, and who has
// CAP_FOWNER.
var atimes atomic.Bool

func openTree(in *os.Root, name string) (*tree, error) {
	d, err := in.OpenFile(name, readOnly|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &tree{dir: d}, nil
}

// Close closes the folder.
func (t *tree) Close() error {
	err := t.dir.Close()
	if t.root != nil {
		err = errors.Join(err, t.root.Close())
	}
	return err
}

// open opens a regular file of the tree. Nothing else is opened: that alone can
// have effects.
func (t *tree) open(name string) (file, int64, error) {
	name = path.Clean("/" + name)[1:]
	fd, err := openat2(int(t.dir.Fd()), name, readOnly, beneath)
	switch {
	case errors.Is(err, unix.ELOOP):
		fd, err = t.openWithin(name)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		fd, err = t.openSlowly(name)
	}
	if err != nil {
		return file{}, 0, err
	}
	f := file{fd}
	size, err := f.regular()
	if err != nil {
		f.close()
	}
	return f, size, err
}

// openat2 opens name. Where it may not leave times alone, it changes them.
func openat2(dir int, name string, flags int, resolve uint64) (int, error) {
	for try := 0; ; try++ {
		how := unix.OpenHow{Flags: uint64(flags), Resolve: resolve}
		quiet := flags&unix.O_PATH == 0 && !atimes.Load()
		if quiet {
			how.Flags |= unix.O_NOATIME
		}
		fd, err := unix.Openat2(dir, name, &how)
		switch {
		case quiet && errors.Is(err, unix.EPERM):
			atimes.Store(true)
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN) && try < mostTries:
		default:
			return fd, err
		}
	}
}

// openWithin opens a file whose name leads through links of its own layer.
func (t *tree) openWithin(name string) (int, error) {
	fd, err := openat2(int(t.dir.Fd()), name, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, within)
	if err != nil {
		return -1, err
	}
	found := file{fd}
	defer found.close()
	if _, err := found.regular(); err != nil {
		return -1, err
	}
	// The link in /proc is the file that was looked at, and no other.
	return unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// openSlowly opens a file where the kernel has no openat2, or a sandbox forbids
// it.
func (t *tree) openSlowly(name string) (int, error) {
	if t.root == nil {
		r, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(t.dir.Fd())))
		if err != nil {
			return -1, err
		}
		t.root = r
	}
	f, err := t.root.OpenFile(name, readOnly, 0)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// A file is one that is open. It is no os.File, which costs more than most files
// take to be read.
type file struct{ fd int }

// regular is the size of a regular file; others are an error.
func (f file) regular() (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, fmt.Errorf("it is no regular file: %w", errDamaged)
	}
	return st.Size, nil
}

func (f file) read(p []byte) (int, error) {
	for {
		n, err := unix.Read(f.fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (f file) close() { _ = unix.Close(f.fd) } // it was only read

// openFile opens a file of the database, and leaves its times alone where it may.
func openFile(in *os.Root, name string) (*os.File, error) {
	if !atimes.Load() {
		f, err := in.OpenFile(name, readOnly|unix.O_NOATIME, 0)
		if !errors.Is(err, unix.EPERM) {
			return f, err
		}
	}
	return in.OpenFile(name, readOnly, 0)
}
