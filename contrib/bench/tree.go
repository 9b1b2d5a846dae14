package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A treeSum stands for all that is in a directory.
type treeSum struct {
	paths int
	sum   string
}

// String is short.
func (t treeSum) String() string { return fmt.Sprintf("%d paths (%.12s)", t.paths, t.sum) }

// treeOf sums up the paths below a directory: types, owners, modes, times of
// files in seconds, contents and targets of links, and which names are one file.
func treeOf(dir string) (treeSum, error) {
	all, files := sha256.New(), map[uint64]string{}
	t := treeSum{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		t.paths++
		return addPath(all, files, dir, path, d)
	})
	t.sum = hex.EncodeToString(all.Sum(nil))
	return t, err
}

func addPath(all hash.Hash, files map[uint64]string, dir, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: no owner is known", path)
	}
	what := ""
	switch first := files[st.Ino]; {
	case first != "":
		what = "= " + first
	case info.Mode().IsRegular():
		if what, err = contentOf(path); err != nil {
			return err
		}
		if st.Nlink > 1 {
			files[st.Ino] = strings.TrimPrefix(path, dir)
		}
	case info.Mode()&fs.ModeSymlink != 0:
		if what, err = os.Readlink(path); err != nil {
			return err
		}
	}
	changed := st.Mtim.Sec
	if info.IsDir() {
		changed = 0 // a directory that no layer has an entry for is as old as the tree
	}
	_, err = fmt.Fprintln(all, strconv.Quote(strings.TrimPrefix(path, dir)), st.Mode, st.Uid, st.Gid, st.Rdev, changed, what)
	return err
}

func contentOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
