package lanes

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// openBeneath opens a file below root, to read. Each folder is opened in the one
// before and none may be a link, so nothing leads elsewhere; root itself is the
// administrator's and may.
func openBeneath(root string, path ...string) (*os.File, error) {
	const folder = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	at, err := unix.Open(root, folder, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	for i, name := range path {
		flags := folder | unix.O_NOFOLLOW
		if i == len(path)-1 {
			// A FIFO would have us wait without O_NONBLOCK.
			flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
		}
		next, err := unix.Openat(at, name, flags, 0)
		_ = unix.Close(at) // only looked through
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: filepath.Join(append([]string{root}, path[:i+1]...)...), Err: err}
		}
		at = next
	}
	return os.NewFile(uintptr(at), filepath.Join(append([]string{root}, path...)...)), nil
}

// writable says why a peer could write a file that it has a descriptor of; ""
// when it could not.
func writable(info fs.FileInfo, by peer) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case by.uid == 0, int(by.uid) == os.Geteuid():
		return "" // it could without us
	case !ok:
		return "nobody knows whose it is"
	case stat.Uid == by.uid:
		return "it belongs to you"
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Sprintf("its mode %v lets others write", info.Mode().Perm())
	}
	return ""
}
