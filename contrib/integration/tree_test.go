//go:build integration && linux

package integration

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A tree says of each path of a directory what a container can see of it.
type tree map[string]string

// readTree walks a directory: types, modes, owners, sizes, times, contents, links
// (symbolic and hard), devices and extended attributes.
func readTree(t testing.TB, root string) tree {
	t.Helper()
	found := tree{}
	links := map[uint64][]string{}
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		if st.Nlink > 1 && st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			links[st.Ino] = append(links[st.Ino], name)
		}
		found[name], err = describePath(path, &st)
		return err
	}))
	for _, names := range links {
		slices.Sort(names)
		for _, n := range names {
			found[n] += " one file: " + strings.Join(names, " ")
		}
	}
	return found
}

// describePath is a line about one path.
func describePath(path string, st *syscall.Stat_t) (string, error) {
	line := fmt.Sprintf("mode %o owner %d:%d", st.Mode, st.Uid, st.Gid)
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		sum, err := sumOf(path)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" size %d content %x", st.Size, sum[:6])
	case syscall.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		line += " to " + target
	case syscall.S_IFCHR, syscall.S_IFBLK:
		line += fmt.Sprintf(" device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	attributes, err := attributesOf(path)
	return line + attributes + fmt.Sprintf(" time %d", st.Mtim.Sec), err
}

func sumOf(path string) ([sha256.Size]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), err
}

func attributesOf(path string) (string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ENOTSUP) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list attributes of %s: %w", path, err)
	}
	var all []string
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", fmt.Errorf("read attribute %s of %s: %w", name, path, err)
		}
		all = append(all, fmt.Sprintf(" %s=%x", name, value[:n]))
	}
	slices.Sort(all)
	return strings.Join(all, ""), nil
}

// without forgets paths, and what lies below them.
func (tr tree) without(paths ...string) tree {
	left := maps.Clone(tr)
	maps.DeleteFunc(left, func(name, _ string) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") })
	})
	return left
}

// untimed forgets the times of paths that another program touches.
func (tr tree) untimed(paths ...string) tree {
	left := maps.Clone(tr)
	for _, p := range paths {
		if line, ok := left[p]; ok {
			left[p], _, _ = strings.Cut(line, " time ")
		}
	}
	return left
}

// userAttribute is an attribute that docker export leaves out: it takes file
// capabilities alone.
var userAttribute = regexp.MustCompile(` user\.[^ ]+=[0-9a-f]*`)

// exported is the tree as docker export tells it.
func (tr tree) exported() tree {
	left := tree{}
	for name, line := range tr {
		left[name] = userAttribute.ReplaceAllString(line, "")
	}
	return left
}

// mostDifferences is how many are told.
const mostDifferences = 20

// equal compares two trees.
func (tr tree) equal(t testing.TB, what string, want tree) {
	t.Helper()
	if len(want) < 2 {
		t.Errorf("%s has %d paths: nothing was compared", what, len(want))
	}
	told := 0
	for _, name := range slices.Sorted(maps.Keys(union(tr, want))) {
		if got, want := tr[name], want[name]; got != want && told < mostDifferences {
			told++
			t.Errorf("%s: /%s\nours: %s\nits:  %s", what, name, or(got, "not there"), or(want, "not there"))
		}
	}
}

func union(a, b tree) tree {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
