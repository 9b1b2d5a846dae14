//go:build linux

package rootfs

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The attributes by which ACLs are known (acl(5)). What is made in a directory with
// a default ACL has both from it.
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// attributes gives a directory those of its entry, in place of those that another
// entry gave it. They are given at once: kept until Finish, those of all
// directories of a layer would take any amount of memory.
func (n *node) attributes(t *Tree, h handle, fresh bool) error {
	m := n.meta
	if !fresh {
		h.strip(m.xattrs)
	}
	if err := m.attributes(t, h); err != nil {
		return err
	}
	_, n.inherits = m.xattrs[defaultACL]
	_, opened := m.xattrs[accessACL]
	m.path, m.xattrs = strings.Clone(m.path[:min(len(m.path), enough+1)]), nil
	if opened { // it may shut out even this user
		return h.chmod(building)
	}
	return nil
}

// strip removes the attributes that are not among those.
func (h handle) strip(but map[string]string) {
	for _, name := range h.names() {
		if _, ok := but[name]; !ok {
			h.removeAttribute(name)
		}
	}
}

// disinherit removes the ACLs that the kernel made from a default ACL. Most file
// systems have none; then there is nothing to remove.
func (h handle) disinherit() {
	h.removeAttribute(accessACL)
	h.removeAttribute(defaultACL)
}

// allAttributes are those that a layer could have given.
func (h handle) allAttributes() *meta {
	m := &meta{xattrs: map[string]string{}}
	for _, name := range h.names() {
		buf := make([]byte, maxAttribute)
		n, err := unix.Fgetxattr(h.fd, name, buf)
		if err == nil {
			m.xattrs[name] = string(buf[:n])
		}
	}
	return m
}

// giveTo gives them to another directory.
func (m *meta) giveTo(t *Tree, h handle) error {
	if err := m.attributes(t, h); err != nil {
		return err
	}
	return h.chmod(building)
}

// maxAttribute is the largest value of an attribute, and of the list of all names
// (linux/limits.h).
const maxAttribute = 64 << 10

// names are the attributes that a layer could have given: not those that the
// system gives each file, nor overlayfs's marks.
func (h handle) names() []string {
	buf := make([]byte, maxAttribute)
	var n int
	var err error
	if h.name == "" {
		n, err = unix.Flistxattr(h.fd, buf)
	} else {
		n, err = unix.Llistxattr(procPath(h.fd, h.name), buf)
	}
	if err != nil || n == 0 {
		return nil
	}
	return slices.DeleteFunc(strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), func(name string) bool {
		return strings.HasPrefix(name, "security.") && name != "security.capability" || hasPrefix(name, overlayMarks)
	})
}

func (h handle) setAttribute(name, value string) error {
	if h.name == "" {
		return unix.Fsetxattr(h.fd, name, []byte(value), 0)
	}
	return unix.Lsetxattr(procPath(h.fd, h.name), name, []byte(value), 0)
}

func (h handle) removeAttribute(name string) {
	if h.name == "" {
		_ = unix.Fremovexattr(h.fd, name) // mostly there is none
		return
	}
	_ = unix.Lremovexattr(procPath(h.fd, h.name), name)
}

// room says whether the file system has space left: if so, one that has none for
// an attribute takes none so large.
func (h handle) room() bool {
	const some = 1 << 20
	var st unix.Statfs_t
	return unix.Fstatfs(h.fd, &st) == nil && st.Bavail*uint64(st.Bsize) > some
}
