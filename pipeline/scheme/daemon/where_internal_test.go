package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// proc is a /proc with us and process 7.
func proc(t *testing.T, ours, theirs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for who, spaces := range map[string]map[string]string{"self": ours, "7": theirs} {
		ns := filepath.Join(dir, who, "ns")
		if err := os.MkdirAll(ns, 0o755); err != nil {
			t.Fatal(err)
		}
		for kind, id := range spaces {
			if err := os.Symlink(fmt.Sprintf("%s:[%s]", kind, id), filepath.Join(ns, kind)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// TestNamespacesOfTheDaemon: a daemon with a network or files of its own is
// told from one that only has a mount namespace and sees our files; what cannot be
// looked at counts as ours.
func TestNamespacesOfTheDaemon(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, tc := range []struct {
		name, net, mnt string
		root           string // what /proc/7/root leads to; "" nowhere
		files, deaf    bool   // are away
	}{
		{"all is ours", "1", "2", "/", false, false},
		{"its own network", "9", "2", "/", false, true},
		{"its own mounts, and our files", "1", "9", "/", false, false},
		{"its own mounts and files", "1", "9", "", true, false},
		{"nobody may look", "", "", "", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			theirs := map[string]string{}
			if tc.net != "" {
				theirs["net"], theirs["mnt"] = tc.net, tc.mnt
			}
			dir := proc(t, map[string]string{"net": "1", "mnt": "2"}, theirs)
			if tc.root != "" {
				if err := os.Symlink(tc.root, filepath.Join(dir, "7", "root")); err != nil {
					t.Fatal(err)
				}
			}
			p := &Place{Host: "unix:///run/docker.sock", Root: root}
			p.compare(dir, 7)
			if err := p.FilesHere(); (err != nil) != tc.files || err != nil && !strings.Contains(err.Error(), "sees other files") {
				t.Errorf("files: %v", err)
			}
			if err := p.LoopbackHere(); (err != nil) != tc.deaf || err != nil && !strings.Contains(err.Error(), "a network of its own") {
				t.Errorf("loopback: %v", err)
			}
			if p.Process != 7 {
				t.Errorf("process %d", p.Process)
			}
		})
	}
}
