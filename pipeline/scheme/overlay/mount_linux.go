package overlay

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// source is what mountinfo calls the source of our mounts: by it they are known.
const source = "occystrap"

// A way is how the kernel is told of the directories. They are open, and never
// named by paths of ours: there is nothing to escape, and nothing can be put in
// their place meanwhile.
type way int

const (
	// byFile gives open directories (Linux 6.13). Who looks at mountinfo sees
	// their paths.
	byFile way = iota
	// byName gives /proc/self/fd/N for each (lowerdir+, Linux 6.7).
	byName
	// byString gives the same in one string to mount(2), before that.
	byString
)

var allWays = []way{byFile, byName, byString}

// A mounter mounts overlayfs in the way that this kernel, user and file system
// can; probe finds it.
type mounter struct {
	way way
	// userxattr: overlayfs keeps its marks where a user namespace may.
	userxattr bool
	// volatile: scratch mounts need not be written to the disk when they end.
	volatile bool
	// spare makes an empty directory, for byString.
	spare func() (in *os.File, name string, err error)
}

// A stack is what is put together.
type stack struct {
	lowers      []*os.File // the topmost first, at least one
	upper, work *os.File
	scratch     bool // nobody will ask for it after a power cut
}

// maxStack is how many lower layers Linux takes (OVL_MAX_STACK).
const maxStack = 500

// fits refuses more layers than can be mounted, before any is unpacked.
func (m *mounter) fits(layers int) error {
	limit := maxStack
	if m.way == byString {
		limit = min(limit, maxString())
	}
	if layers > limit {
		return fmt.Errorf("the image has %d layers, and overlayfs of this kernel takes %d; dir://DIR?expand=true takes any number", layers, limit)
	}
	return nil
}

type option struct{ key, value string } // no value: a flag

// options are those that do not depend on a stack. Features that would make one
// directory mean another are off: a layer is a stranger's.
func (m *mounter) options(scratch bool) []option {
	out := []option{{"index", "off"}}
	switch {
	case m.userxattr:
		out = append(out, option{"userxattr", ""}) // without the others
	case scratch:
		// Whole directories are put aside (rootfs.Tree.Trash); no layer has such a
		// mark of its own.
		out = append(out, option{"redirect_dir", "on"}, option{"metacopy", "off"})
	default:
		out = append(out, option{"redirect_dir", "nofollow"}, option{"metacopy", "off"})
	}
	if scratch && m.volatile {
		out = append(out, option{"volatile", ""})
	}
	return out
}

// mount puts a stack together. The mount has no place in any tree: it is reached
// through the open file, and gone when that is closed, unless attach gave it one.
func (m *mounter) mount(s stack) (*os.File, error) {
	if m.way == byString {
		return m.mountString(s)
	}
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, refused(err)
	}
	defer unix.Close(fs)
	if err := m.configure(fs, s); err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, errMount(err, kernelLog(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, refused(err)
	}
	return os.NewFile(uintptr(fd), mountPoint), nil
}

func (m *mounter) configure(fs int, s stack) error {
	for _, o := range append(m.options(s.scratch), option{"source", source}) {
		if err := o.set(fs); err != nil {
			return errMount(err, "option "+o.key)
		}
	}
	for _, l := range s.lowers {
		if err := m.directory(fs, "lowerdir+", l); err != nil {
			return err
		}
	}
	if err := m.directory(fs, "upperdir", s.upper); err != nil {
		return err
	}
	return m.directory(fs, "workdir", s.work)
}

func (o option) set(fs int) error {
	if o.value == "" {
		return unix.FsconfigSetFlag(fs, o.key)
	}
	return unix.FsconfigSetString(fs, o.key, o.value)
}

func (m *mounter) directory(fs int, key string, dir *os.File) (err error) {
	if m.way == byFile {
		err = unix.FsconfigSetFd(fs, key, int(dir.Fd()))
	} else {
		err = unix.FsconfigSetString(fs, key, nameOf(dir))
	}
	if err != nil {
		return errMount(err, kernelLog(fs))
	}
	return nil
}

// nameOf names an open directory, shortly and without anything to escape.
func nameOf(dir *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) }

// errMount says that overlayfs could not be mounted in this way. Even EPERM may
// mean an option: redirect_dir in a user namespace.
func errMount(err error, details string) error {
	if details != "" {
		err = fmt.Errorf("%w: %s", err, details)
	}
	return fmt.Errorf("mount overlayfs: %w", err)
}

var errPrivilege = errors.New("mounts:// takes the right to mount; run it as root, or in a namespace of your own (unshare --user --map-root-user --mount), " +
	"or write dir://DIR?expand=true, which takes neither")

// refused says why the kernel mounts nothing at all.
func refused(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return errPrivilege
	case errors.Is(err, unix.ENODEV):
		return errors.New("this kernel has no overlayfs; load it (modprobe overlay), or write dir://DIR?expand=true")
	case errors.Is(err, unix.ENOSYS):
		return errors.New("mounts:// takes Linux 5.2 or newer; write dir://DIR?expand=true")
	}
	return fmt.Errorf("mount overlayfs: %w", err)
}

// kernelLog is what the kernel says of a mount that it refuses.
func kernelLog(fs int) string {
	const enough = 4096
	var out []string
	buf := make([]byte, enough)
	for {
		n, err := unix.Read(fs, buf) // a message at a time
		if err != nil || n <= 0 {
			return strings.Join(out, "; ")
		}
		if text, ok := strings.CutPrefix(strings.TrimSpace(string(buf[:n])), "e "); ok {
			out = append(out, text)
		}
	}
}

// attach gives a mount its place: an open directory.
func attach(mount, at *os.File) error {
	const open = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
	if err := unix.MoveMount(int(mount.Fd()), "", int(at.Fd()), "", open); err != nil {
		return refused(err)
	}
	return nil
}

// inside mounts a stack at no place, does something in it, and lets go of it.
func (m *mounter) inside(s stack, do func(in *os.File) error) error {
	mount, err := m.mount(s)
	if err != nil {
		return err
	}
	defer mount.Close()
	in, err := top(mount)
	if err != nil {
		return err
	}
	defer in.Close()
	return do(in)
}

// top opens the root of a mount to work in.
func top(mount *os.File) (*os.File, error) {
	fd, err := unix.Openat(int(mount.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the mount: %w", err)
	}
	return os.NewFile(uintptr(fd), mountPoint), nil
}
