package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline"
)

// A mounting is what is mounted at rootfs.
type mounting struct {
	mounted bool
	ours    bool // it was made by mounts://
}

// mountAt looks at rootfs in an open directory. fs.ErrNotExist: there is none.
func mountAt(dir *os.File) (m mounting, err error) {
	var st unix.Statx_t
	err = unix.Statx(int(dir.Fd()), mountPoint, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE|unix.STATX_MNT_ID, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return m, fs.ErrNotExist
	case err != nil:
		return m, fmt.Errorf("%s: %w", mountPoint, err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return m, fmt.Errorf("%s is not a directory", mountPoint)
	}
	m.mounted = st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	if !m.mounted {
		return m, nil
	}
	m.ours, err = isOurs(st.Mnt_id)
	return m, err
}

// isOurs says whether a mount is an overlayfs whose source has our name (proc(5),
// mountinfo).
func isOurs(id uint64) (bool, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		sep := slices.Index(fields, "-")
		if len(fields) > 0 && fields[0] == strconv.FormatUint(id, 10) && sep > 0 && len(fields) > sep+2 {
			return fields[sep+1] == "overlay" && fields[sep+2] == source, nil
		}
	}
	return false, nil
}

// Unmount takes apart what mounts://PATH has mounted. Everything else in the
// directory stays: layers, and changes in delta. With lazy the mount vanishes at
// once, and ends when nobody uses it any more. What somebody else has mounted there
// is left alone.
func Unmount(path string, lazy bool) error {
	dir, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return pipeline.Usage("%s: there is no such directory", path)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	place := path + "/" + mountPoint
	m, err := mountAt(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !m.mounted:
		return pipeline.Usage("nothing is mounted at %s", place)
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case !m.ours:
		return pipeline.Usage("what is mounted at %s was not mounted by mounts://; use umount(8)", place)
	}
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	// By way of the open directory: what was looked at is what is unmounted.
	err = unix.Unmount(nameOf(dir)+"/"+mountPoint, flags)
	switch {
	case errors.Is(err, unix.EBUSY):
		return pipeline.Usage("%s is in use: by a process, or by something mounted below it; end that, or give --lazy", place)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("unmount %s: it takes the right to mount; run it as root, or where it was mounted", place)
	case err != nil:
		return fmt.Errorf("unmount %s: %w", place, err)
	}
	return nil
}
