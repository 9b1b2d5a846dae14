package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// procfs is where processes can be looked at (proc(5)).
const procfs = "/proc"

// locate finds out whether the daemon's files and its loopback are ours. What
// cannot be told counts as ours: lanes verify what they read, and ask for a sign
// before they give.
func (p *Place) locate(ctx context.Context, kernel string) {
	scheme, path, _ := strings.Cut(p.Host, "://")
	if scheme != "unix" {
		p.away(fmt.Sprintf("the daemon at %s is another machine", p.Host))
		return
	}
	if ours := kernelRelease(); kernel != "" && ours != "" && kernel != ours {
		p.away(fmt.Sprintf("the daemon at %s runs in a VM or on another machine: its kernel is %s, this one %s", p.Host, kernel, ours))
		return
	}
	pid, err := peer(ctx, path)
	switch {
	case err != nil: // no way to ask; the client has its own connection
		return
	case pid == 0:
		p.FilesAway = fmt.Sprintf("the daemon at %s runs outside this container: its files are not here", p.Host)
		return
	}
	p.compare(procfs, pid)
}

// compare looks at the process that listens, in a /proc.
func (p *Place) compare(proc string, pid int) {
	p.Process = pid
	if !sameNamespace(proc, pid, "net") {
		p.LoopbackAway = fmt.Sprintf("the daemon at %s has a network of its own (process %d): it does not reach our 127.0.0.1", p.Host, pid)
	}
	if !p.sameRoot(proc, pid) {
		p.FilesAway = fmt.Sprintf("the daemon at %s sees other files than we do (process %d): %s is not the same here", p.Host, pid, p.Root)
	}
}

// away: nothing of the daemon is here.
func (p *Place) away(reason string) {
	p.FilesAway, p.LoopbackAway = reason+": its files are not here", reason+": it does not reach our 127.0.0.1"
}

// sameNamespace says whether a process is in our namespace of a kind; true where
// that cannot be told.
func sameNamespace(proc string, pid int, kind string) bool {
	theirs, err := os.Readlink(fmt.Sprintf("%s/%d/ns/%s", proc, pid, kind))
	if err != nil {
		return true
	}
	ours, err := os.Readlink(proc + "/self/ns/" + kind)
	return err != nil || ours == theirs
}

// sameRoot says whether the daemon's data is the same directory for both; where
// it cannot be looked at, the mount namespaces tell, and true where they do not.
// A service may have a mount namespace of its own and still see what we see.
func (p *Place) sameRoot(proc string, pid int) bool {
	if sameNamespace(proc, pid, "mnt") || p.Root == "" {
		return true
	}
	theirs, err := os.Stat(filepath.Join(fmt.Sprintf("%s/%d/root", proc, pid), p.Root))
	if err != nil {
		return false
	}
	ours, err := os.Stat(p.Root)
	return err == nil && os.SameFile(ours, theirs)
}
