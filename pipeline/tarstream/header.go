package tarstream

import "time"

// The type flags of entries (POSIX.1-2017 pax, GNU tar).
const (
	TypeReg       = '0'
	TypeLink      = '1' // a hard link
	TypeSymlink   = '2'
	TypeChar      = '3'
	TypeBlock     = '4'
	TypeDir       = '5'
	TypeFifo      = '6'
	TypeCont      = '7'
	TypeGNUSparse = 'S'
	TypeGlobal    = 'g' // a PAX header for all entries after it; it has no name
)

// A Header is what an entry says of itself, with PAX records and GNU long
// names already applied.
type Header struct {
	// Type is the type flag; V7's NUL is shown as TypeReg or, where the name ends
	// in a slash, TypeDir.
	Type byte
	// Name and Linkname are byte strings as stored, including a leading "./"
	// and a directory's trailing slash.
	Name, Linkname     string
	Mode               int64
	UID, GID           int
	Uname, Gname       string
	Size               int64 // bytes of content stored in this archive
	ModTime            time.Time
	AccessTime         time.Time // zero: not recorded
	ChangeTime         time.Time // zero: not recorded
	Devmajor, Devminor int64
	// Records are the PAX records that have no field above, among them
	// SCHILY.xattr.*, GNU.sparse.* and those that nobody knows; of a repeated
	// one the last. Nil for none.
	Records map[string]string
}

// IsRegular says whether the entry has file content: hard links can point to it.
func (h *Header) IsRegular() bool {
	return h.Type == TypeReg || h.Type == TypeCont || h.Type == TypeGNUSparse
}
