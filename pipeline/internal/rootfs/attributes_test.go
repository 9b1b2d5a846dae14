//go:build linux

package rootfs_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline/internal/rootfs"
)

func xattr(h *tar.Header, name, value string) *tar.Header {
	if h.PAXRecords == nil {
		h.PAXRecords = map[string]string{}
	}
	h.PAXRecords["SCHILY.xattr."+name] = value
	return h
}

// acl is one in which user 1000 may do everything (acl(5), linux/posix_acl_xattr.h).
func acl() string {
	raw := []byte{2, 0, 0, 0}
	for _, e := range [][3]uint32{{1, 7, 0xffffffff}, {2, 7, 1000}, {4, 5, 0xffffffff}, {16, 7, 0xffffffff}, {32, 5, 0xffffffff}} {
		raw = append(raw, byte(e[0]), 0, byte(e[1]), 0, byte(e[2]), byte(e[2]>>8), byte(e[2]>>16), byte(e[2]>>24))
	}
	return string(raw)
}

const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// A few bytes of a compressed layer can be any number of directories with large
// attributes. (Not parallel: it looks at the memory of the whole process.)
func TestAttributesOfDirectoriesAreNotKept(t *testing.T) { //nolint:paralleltest // see above
	const n, size = 400, 60 << 10
	var l layer
	for i := range n {
		l = append(l, xattr(directory(fmt.Sprint(i)), "user.large", strings.Repeat("x", size)))
	}
	f := layerFile(t, l...)
	clear(l)
	tree := newTree(t, t.TempDir(), rootfs.Options{})
	if err := tree.Apply(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > n*size/3 {
		t.Errorf("%d bytes are in use after a layer with %d bytes of attributes", m.HeapAlloc, n*size)
	}
	runtime.KeepAlive(tree)
}

// What no file can have, or none of this file system, is left out; it is no error,
// and no full disk.
func TestImpossibleAttributesAreLeftOut(t *testing.T) {
	t.Parallel()
	dir, left, err := unpack(t, layer{
		xattr(file("long", "x"), "user."+strings.Repeat("n", 300), "v"), xattr(file("large", "x"), "user.large", strings.Repeat("v", 70000)),
		xattr(file("nameless", "x"), "", "v"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"long", "large", "nameless"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil || !strings.Contains(left, ": "+name) {
			t.Errorf("%s: %v; left out: %s", name, err, left)
		}
	}
}

// A layer can name any number of attributes; the message does not.
func TestWhatIsLeftOutIsToldBriefly(t *testing.T) {
	t.Parallel()
	var l layer
	for i := range 500 {
		l = append(l, xattr(file(fmt.Sprint("f", i), ""), fmt.Sprintf("none%d.%s", i, strings.Repeat("n", 200)), "v"))
	}
	_, left, err := unpack(t, l)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 5000 || !strings.HasSuffix(left, "and 480 more") {
		t.Errorf("%d bytes: %.300s", len(left), left)
	}
}

// A user may have given the directory ACLs for his own files. Those are not the
// image's.
func TestACLsComeFromTheImageAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{accessACL, defaultACL} {
		if err := unix.Lsetxattr(dir, name, []byte(acl()), 0); err != nil {
			t.Skip("no ACLs here: ", err)
		}
	}
	_, err := apply(t, dir, layer{
		file("f", "x"), file("implied/f", "x"), xattr(directory("d"), defaultACL, acl()), file("d/f", "x"), file("d/sub/f", "x"), directory("d/e"),
		{Name: "d/pipe", Typeflag: tar.TypeFifo, Mode: 0o644},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "f", "implied", "implied/f", "d/f", "d/sub", "d/sub/f", "d/e", "d/pipe"} {
		if got := attributesOf(t, filepath.Join(dir, name)); got != "" {
			t.Errorf("%q has %s", name, got)
		}
	}
	if got := attributesOf(t, filepath.Join(dir, "d")); got != defaultACL {
		t.Errorf("d has %q", got)
	}
}

// A directory has what its last entry says, whether or not it was there before.
func TestLastEntryOfADirectorySaysItsAttributes(t *testing.T) {
	t.Parallel()
	dir, _, err := unpack(t,
		layer{xattr(directory("d"), "user.a", "1"), xattr(directory("e"), "user.b", "1")},
		layer{directory("d"), xattr(xattr(directory("e"), "user.b", "2"), "user.c", "3"), file("e/f", "")})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"d": "", "e": "user.b user.c"} {
		if got := attributesOf(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
	}
}

// attributesOf lists the names of a file's attributes, but for the system's own.
func attributesOf(t testing.TB, p string) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(p, buf)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for name := range bytes.SplitSeq(buf[:n], []byte{0}) {
		if len(name) > 0 && !bytes.HasPrefix(name, []byte("security.")) {
			out = append(out, string(name))
		}
	}
	return strings.Join(out, " ")
}

// No path of Linux leads so deep; each directory on the way takes an open file.
func TestBottomlessTreesAreRefused(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]layer{
		"at once":  {file(strings.Repeat("d/", 3000)+"f", "x")},
		"by links": {directory(strings.Repeat("d/", 1500)), symlink("l", strings.Repeat("d/", 1500)), directory("l/" + strings.Repeat("e/", 1500))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := unpack(t, l); err == nil || !strings.Contains(err.Error(), "directories deep") {
				t.Errorf("got %v", err)
			}
		})
	}
}
