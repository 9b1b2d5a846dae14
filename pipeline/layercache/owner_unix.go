//go:build unix

package layercache

import (
	"io/fs"
	"os"
	"syscall"
)

// othersMayWrite says whether more users than the owner may write to a file.
func othersMayWrite(info fs.FileInfo) bool {
	const groupOrWorld = 0o022
	return info.Mode().Perm()&groupOrWorld != 0
}

// ours says whether a file belongs to this user, or to root.
func ours(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return !ok || s.Uid == 0 || int(s.Uid) == os.Geteuid()
}
