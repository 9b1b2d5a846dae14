package store

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// bootID names the running kernel: proc(5), /proc/sys/kernel/random/boot_id.
func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// syncTree syncs the file system that the blobs are on.
func syncTree(f *files) error {
	d, err := os.Open(f.root)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}
