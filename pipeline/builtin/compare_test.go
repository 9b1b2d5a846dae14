package builtin_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/compare"
)

// The differences of two images are those of the trees that dir://?expand=true
// makes of them, which another package merges.
func TestDifferencesAreThoseOfTheUnpackedTrees(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("trees are unpacked on Linux only")
	}
	const images = "tar://../scheme/tarball/testdata/images/"
	names := []string{"dive-test-docker-image", "dive-test-kaniko-image", "busybox-1.36.1-musl-amd64-oci", "ggcr-whiteout_image"}
	var trees []map[string]string
	for _, n := range names {
		out := t.TempDir()
		runURIs(t, images+n+".tar", "dir://"+out+"?expand=true", pipeline.Options{})
		trees = append(trees, listTree(t, filepath.Join(out, "manifest")))
	}
	for i := range names {
		for j := range names[:i] {
			want := differ(trees[i], trees[j])
			got := compared(t, images+names[i]+".tar", images+names[j]+".tar")
			if len(want) == 0 || !slices.Equal(got, want) {
				t.Errorf("%s against %s: %d differences, expected %d:\n%v\n%v", names[i], names[j], len(got), len(want), got, want)
			}
		}
	}
}

// listTree describes each path of a tree.
func listTree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := fmt.Sprint(info.Mode(), info.ModTime().UnixNano())
		switch {
		case info.Mode().IsRegular():
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += digest.FromBytes(raw).String()
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += to
		}
		rel, err := filepath.Rel(root, path)
		out[rel] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func differ(a, b map[string]string) (out []string) {
	for p, x := range a {
		if y, ok := b[p]; !ok {
			out = append(out, p+" removed")
		} else if x != y {
			out = append(out, p+" changed")
		}
	}
	for p := range b {
		if _, ok := a[p]; !ok {
			out = append(out, p+" added")
		}
	}
	slices.Sort(out)
	return out
}

func compared(t *testing.T, a, b string) (out []string) {
	t.Helper()
	schemes := builtin.Schemes(builtin.Config{})
	var in [2]compare.Input
	for i, uri := range []string{a, b} {
		src, err := schemes.Source(uri)
		if err != nil {
			t.Fatal(err)
		}
		in[i].Source = src
	}
	c, err := compare.Run(t.Context(), in[0], in[1], compare.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for change, err := range c.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case change.Path == "": // the top of the tree is the test's own
		case change.A == nil:
			out = append(out, change.Path+" added")
		case change.B == nil:
			out = append(out, change.Path+" removed")
		case !slices.Equal(change.What, []compare.Aspect{compare.AspectOwner}): // an ordinary user owns all that is unpacked
			out = append(out, change.Path+" changed")
		}
	}
	slices.Sort(out)
	return out
}
