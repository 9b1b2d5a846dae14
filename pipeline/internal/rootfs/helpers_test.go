//go:build linux

package rootfs_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline/internal/rootfs"
)

// when is the time of every entry.
var when = time.Unix(1700000000, 123456789)

// Short forms of the entries of a layer.
func file(name, body string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, PAXRecords: map[string]string{"body": body}}
}

func directory(name string) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}
}

func symlink(name, to string) *tar.Header {
	return &tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink, Mode: 0o777}
}

func hardlink(name, to string) *tar.Header {
	return &tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeLink, Mode: 0o644}
}

func mode(h *tar.Header, m int64) *tar.Header { h.Mode = m; return h }

func owned(h *tar.Header, uid, gid int) *tar.Header { h.Uid, h.Gid = uid, gid; return h }

// layerFile packs entries into a file. "body" among the records is the content.
func layerFile(t testing.TB, entries ...*tar.Header) *os.File {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		h := *h
		body := h.PAXRecords["body"]
		h.PAXRecords = cloneWithout(h.PAXRecords, "body")
		h.Size, h.ModTime, h.Format = int64(len(body)), when, tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return fileOf(t, b.Bytes())
}

func cloneWithout(m map[string]string, key string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		if k != key {
			out[k] = v
		}
	}
	return out
}

func fileOf(t testing.TB, raw []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "layer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(raw); err != nil {
		t.Fatal(err)
	}
	return f
}

type layer []*tar.Header

// unpack applies layers to a new directory in the middle of a sentinel tree,
// whose top is {around} in their names, and checks that nothing around it was
// touched, whatever came of it.
func unpack(t testing.TB, layers ...layer) (dir, left string, err error) {
	t.Helper()
	around := t.TempDir()
	dir = filepath.Join(around, "a/b/tree")
	for _, d := range []string{"a/b/tree", "a/b/etc", "etc"} {
		if err := os.MkdirAll(filepath.Join(around, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"secret", "etc/passwd", "a/secret", "a/b/secret", "a/b/etc/passwd"} {
		if err := os.WriteFile(filepath.Join(around, f), []byte("sentinel"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	layers = slices.Clone(layers)
	for i, l := range layers {
		layers[i] = slices.Clone(l) // tests that run beside this one share entries
		for j, h := range l {
			h := *h
			h.Name, h.Linkname = strings.ReplaceAll(h.Name, "{around}", around), strings.ReplaceAll(h.Linkname, "{around}", around)
			layers[i][j] = &h
		}
	}
	before := sentinel(t, around, dir)
	left, err = apply(t, dir, layers...)
	if after := sentinel(t, around, dir); after != before {
		t.Errorf("something outside was touched.\nbefore:\n%s\nafter:\n%s", before, after)
	}
	return dir, left, err
}

// newTree unpacks into a directory until the test ends.
func newTree(t testing.TB, dir string, o rootfs.Options) *rootfs.Tree {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	tree, err := rootfs.New(d, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

func apply(t testing.TB, dir string, layers ...layer) (string, error) {
	t.Helper()
	tree := newTree(t, dir, rootfs.Options{Entries: 10000, Sparse: 1 << 30})
	for _, l := range layers {
		if err := tree.Apply(t.Context(), layerFile(t, l...)); err != nil {
			return "", err
		}
	}
	left, err := tree.Finish()
	if err != nil {
		return "", err
	}
	return left.String(), nil
}

// sentinel is all that can be seen around a tree.
func sentinel(t testing.TB, around, but string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(around, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || p == but {
			return filepath.SkipDir
		}
		b.WriteString(describe(t, p) + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// describe is a file as text: all but its name's times of reading.
func describe(t testing.TB, p string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return err.Error()
	}
	body := ""
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		raw, _ := os.ReadFile(p)
		body = string(raw)
	case unix.S_IFLNK:
		body, _ = os.Readlink(p)
	}
	return fmt.Sprintf("%s %o %d:%d links %d time %d.%09d rdev %d %q", filepath.Base(p), st.Mode, st.Uid, st.Gid, st.Nlink, st.Mtim.Sec, st.Mtim.Nsec, st.Rdev, body)
}

// content lists a tree: "dir/", "file=content", "link->target".
func content(t testing.TB, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		switch {
		case rel == ".":
		case d.IsDir():
			out = append(out, rel+"/")
		case d.Type()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(p)
			out = append(out, rel+"->"+to)
		case d.Type().IsRegular():
			raw, _ := os.ReadFile(p)
			out = append(out, rel+"="+string(raw))
		default:
			out = append(out, rel+"?")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it takes root")
	}
}

func stat(t testing.TB, p string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(p)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t)
}
