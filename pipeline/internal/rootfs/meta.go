//go:build linux

package rootfs

import (
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// xattrRecord is how PAX headers name extended attributes.
const xattrRecord = "SCHILY.xattr."

// overlayMarks are the attributes by which overlayfs steers itself: a tree that
// has them would be another one as a lower directory.
var overlayMarks = []string{"trusted.overlay.", "user.overlay."}

// meta is all that an entry has besides name and content.
type meta struct {
	path     string
	uid, gid int
	mode     uint32
	times    [2]unix.Timespec // of access and of change
	xattrs   map[string]string
}

func newMeta(i item) *meta {
	accessed := i.AccessTime
	if accessed.IsZero() {
		accessed = i.ModTime
	}
	m := &meta{path: i.path, uid: i.Uid, gid: i.Gid, mode: uint32(i.Mode & 0o7777), times: [2]unix.Timespec{spec(accessed), spec(i.ModTime)}}
	for k, v := range i.PAXRecords {
		if name, ok := strings.CutPrefix(k, xattrRecord); ok {
			if m.xattrs == nil {
				m.xattrs = map[string]string{}
			}
			m.xattrs[name] = v
		}
	}
	return m
}

// meta is what an entry gives its file. In a layer by itself, it is what containerd
// gives it: nothing that only the system may say, and no access before the change.
func (t *Tree) meta(i item) *meta {
	m := newMeta(i)
	if !t.opts.Marks {
		return m
	}
	if i.AccessTime.Before(i.ModTime) {
		m.times[0] = m.times[1]
	}
	for name := range m.xattrs {
		if strings.HasPrefix(name, "trusted.") {
			t.left.add("the attribute "+short(name), m.path)
			delete(m.xattrs, name)
		}
	}
	return m
}

func spec(t time.Time) (s unix.Timespec) {
	s.Sec, s.Nsec = t.Unix(), int64(t.Nanosecond())
	return s
}

// A handle is what a meta is given to: an open file, or a name in an open
// directory that is not to be followed.
type handle struct {
	fd   int
	name string // "": fd itself
	link bool
}

// apply gives a file its owner first: that takes capabilities and setuid away.
func (m *meta) apply(t *Tree, h handle) error {
	if err := m.own(t, h); err != nil {
		return err
	}
	if err := m.attributes(t, h); err != nil {
		return err
	}
	if !h.link {
		if err := h.chmod(m.mode); err != nil {
			return err
		}
	}
	return h.touch(&m.times)
}

func (m *meta) own(t *Tree, h handle) error {
	if !t.root {
		if m.uid != os.Geteuid() || m.gid != os.Getegid() {
			t.left.add("owners", m.path)
		}
		return nil
	}
	err := unix.EINVAL
	if m.uid >= 0 && m.gid >= 0 && m.uid < math.MaxUint32 && m.gid < math.MaxUint32 {
		err = errno(unix.Fchownat(h.fd, h.name, m.uid, m.gid, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH))
	}
	if t.opts.Marks && err != 0 {
		return err
	}
	return t.may(err, "owners", m.path)
}

func (m *meta) attributes(t *Tree, h handle) error {
	for name, value := range m.xattrs {
		what := "the attribute " + short(name)
		if hasPrefix(name, overlayMarks) && !t.opts.Marks {
			t.left.add(what, m.path)
			continue
		}
		err := errno(h.setAttribute(name, value))
		if err == unix.E2BIG || err == unix.ERANGE || err == unix.ENOSPC && h.room() {
			err = unix.ENOTSUP // no file can have it, or none of this file system
		}
		if err := t.may(err, what, m.path); err != nil {
			return err
		}
	}
	return nil
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// may turns what this user or file system cannot do into something left out.
func (t *Tree) may(err unix.Errno, what, name string) error {
	switch err { //nolint:exhaustive // all others are errors
	case 0:
		return nil
	case unix.EPERM, unix.EINVAL, unix.ENOTSUP, unix.EOVERFLOW:
		t.left.add(what, name)
		return nil
	}
	return err
}

func errno(err error) unix.Errno {
	if err == nil {
		return 0
	}
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EIO
}

func (h handle) chmod(mode uint32) error {
	if h.name == "" {
		return unix.Fchmod(h.fd, mode)
	}
	return unix.Fchmodat(h.fd, h.name, mode, 0) // a device or pipe that was made just now
}

func (h handle) touch(times *[2]unix.Timespec) error {
	if h.name != "" {
		return unix.UtimesNanoAt(h.fd, h.name, times[:], unix.AT_SYMLINK_NOFOLLOW)
	}
	// futimens is utimensat without a path, which package unix does not offer.
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(h.fd), 0, uintptr(unsafe.Pointer(times)), 0, 0, 0) //nolint:gosec // as the kernel wants it
	if e != 0 {
		return e
	}
	return nil
}

// procPath names what is open, or a name in it, for calls that take paths only.
func procPath(fd int, name string) string {
	p := "/proc/self/fd/" + strconv.Itoa(fd)
	if name != "" {
		p += "/" + name
	}
	return p
}
