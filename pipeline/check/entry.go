package check

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// The mode bits of tar and of stat(2).
const (
	setuid        = 0o4000
	setgid        = 0o2000
	groupExecutes = 0o010
	othersWrite   = 0o002
)

// maxMappedID is the largest owner that a user namespace maps by default
// (subuid(5): 65536 IDs).
const maxMappedID = 65535

// capabilities is the record of a file's capabilities (setcap(8)).
const capabilities = "SCHILY.xattr.security.capability"

// checkEntry judges what an entry says of itself, at its place.
func (f *findings) checkEntry(h *tarstream.Header, at string) {
	say := func(id, format string, args ...any) {
		path := clone(h.Name)
		f.add(id, severityOf[id], path, quote(path)+" "+fmt.Sprintf(format, args...))
	}
	if baseOf(at) == whiteoutPrefix {
		say("whiteout", "is a whiteout that names nothing")
	}
	if h.ModTime.Unix() < 0 {
		say("tar-timestamp", "has a time before 1970: %d", h.ModTime.Unix())
	}
	if h.Mode&(setuid|setgid) != 0 && h.Mode&othersWrite != 0 && h.Type != tarstream.TypeSymlink {
		say("tar-permissions", "is %s and writable by all (mode %04o)", setBits(h.Mode), h.Mode&0o7777)
	}
	if escapes("", h.Name) {
		say("name-escape", "leads out of the tree")
	}
	switch {
	case h.Type == tarstream.TypeLink && escapes("", h.Linkname):
		say("link-escape", "is a hard link out of the tree, to %s", quote(h.Linkname))
	case h.Type == tarstream.TypeSymlink && escapes(parentOf(at), h.Linkname):
		path := clone(h.Name)
		f.add("link-escape", Warning, path, fmt.Sprintf("%s is a symbolic link that climbs out of the tree, to %s", quote(path), quote(h.Linkname)))
	}
	if why := loses(h); why != "" {
		say("setuid-lost", "%s", why)
	}
}

// setBits names the bits of a mode.
func setBits(mode int64) string {
	switch mode & (setuid | setgid) {
	case setuid:
		return "setuid"
	case setgid:
		return "setgid"
	}
	return "setuid and setgid"
}

// loses says why an entry's privileges get lost where it is unpacked; "" where
// they do not, or where it has none. chown(2) clears the bits, and so does an
// unpacker that may not set the owner; the kernel takes only capabilities that
// it can read.
func loses(h *tarstream.Header) string {
	bits := h.Mode & (setuid | setgid)
	if h.Mode&groupExecutes == 0 {
		bits &^= setgid // mandatory locking, which is no privilege
	}
	switch {
	case h.Type == tarstream.TypeDir, h.Type == tarstream.TypeLink:
	case bits != 0 && !h.IsRegular() && h.Type != tarstream.TypeSymlink:
		return "is " + setBits(bits) + ", and no program"
	case bits != 0 && h.IsRegular() && (h.UID > maxMappedID || h.GID > maxMappedID):
		return fmt.Sprintf("is %s and belongs to %d:%d, which user namespaces do not map: unpacked without root it loses that", setBits(bits), h.UID, h.GID)
	}
	raw, ok := h.Records[capabilities]
	switch {
	case !ok:
	case !h.IsRegular():
		return "has file capabilities, and is no file"
	case !validCapabilities(raw):
		return fmt.Sprintf("has file capabilities that the kernel does not take: %q", raw)
	}
	return ""
}

// validCapabilities says whether the kernel reads the value: linux/capability.h,
// vfs_cap_data and vfs_ns_cap_data. Revision 3 is for one user namespace.
func validCapabilities(raw string) bool {
	const revision2, revision3 = 0x02000000, 0x03000000
	sizes := map[uint32]int{0x01000000: 12, revision2: 20, revision3: 24}
	if len(raw) < 4 {
		return false
	}
	return sizes[binary.LittleEndian.Uint32([]byte(raw))&0xff000000] == len(raw)
}

// kindOf is what an entry does at its place, and the place that this is about.
func kindOf(h *tarstream.Header, at string) (string, kind) {
	switch h.Type {
	case tarstream.TypeDir:
		return at, dir
	case tarstream.TypeLink:
		return at, hardlink
	case tarstream.TypeGlobal:
		return at, nothing
	}
	if strings.HasPrefix(baseOf(at), whiteoutPrefix) {
		return whiteout(at)
	}
	if h.IsRegular() {
		return at, file
	}
	return at, other
}
