package staging

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// unmounted refuses a directory in which somebody has mounted something, as for a
// chroot: it would move along, and stand in the way when the tree is removed.
func (d *Dir) unmounted(name string) error {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil // not here; whoever removes a tree stops at mounts anyway
	}
	dir, err := filepath.Abs(d.path)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, name)
	for line := range strings.Lines(string(raw)) {
		const mountPoint = 4 // proc(5): the fields of mountinfo
		fields := strings.Fields(line)
		if len(fields) <= mountPoint {
			continue
		}
		if at := unescaped.Replace(fields[mountPoint]); at == dir || strings.HasPrefix(at, dir+"/") {
			return fmt.Errorf("something is mounted on %s; unmount it first: %w", at, syscall.EBUSY)
		}
	}
	return nil
}

// unescaped undoes how mountinfo writes blanks and backslashes.
var unescaped = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
