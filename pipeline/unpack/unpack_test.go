//go:build linux

package unpack_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/unpack"
)

// A place is a directory on a file system that takes overlayfs's marks.
func place(t testing.TB) *os.File {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("to make overlayfs's marks takes root")
	}
	dir := t.TempDir()
	if err := unix.Setxattr(dir, "trusted.occystrap", []byte("x"), 0); err != nil {
		t.Skipf("%s takes no such attributes: %v", dir, err)
	}
	must(t, unix.Removexattr(dir, "trusted.occystrap"))
	f, err := os.Open(dir)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func file(name, body string) pipelinetest.File { return pipelinetest.File{Name: name, Body: body} }

func dir(name string) pipelinetest.File {
	return pipelinetest.File{Name: name, Type: tar.TypeDir, Mode: 0o755}
}

// opaque says whether overlayfs hides what lower layers have in a directory.
func opaque(t testing.TB, path string) bool {
	t.Helper()
	buf := make([]byte, 8)
	n, err := unix.Lgetxattr(path, "trusted.overlay.opaque", buf)
	return err == nil && string(buf[:n]) == "y"
}

// hidden says whether a name is a whiteout.
func hidden(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// Compressed or not, the diff ID is that of the plain tar, with what is behind its
// end, and files are there.
func TestLayerIsUnpackedWhileItIsRead(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789", 100_000)
	plain := append(pipelinetest.Tar(t, dir("d"), file("d/small", "small"), file("d/large", large), file("x/y/z", "deep")), make([]byte, 4096)...)
	for _, c := range []pipeline.Compression{pipeline.Plain, pipeline.Gzip, pipeline.Zstd} {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			to := place(t)
			r, err := unpack.Layer(t.Context(), to, bytes.NewReader(pipelinetest.Compress(t, c, plain)), unpack.Options{})
			must(t, err)
			if want := digest.FromBytes(plain); r.DiffID != want {
				t.Errorf("diff ID is %s, want %s", r.DiffID, want)
			}
			if want := []string{"x", "x/y"}; !slices.Equal(r.Implied, want) {
				t.Errorf("implied are %q, want %q", r.Implied, want)
			}
			for name, want := range map[string]string{"d/small": "small", "d/large": large, "x/y/z": "deep"} {
				if got, err := os.ReadFile(filepath.Join(to.Name(), name)); err != nil || string(got) != want {
					t.Errorf("%s has %d bytes, %v", name, len(got), err)
				}
			}
		})
	}
}

// Whiteouts hide what lower layers have and never what the layer has itself,
// whatever stands first.
func TestWhiteoutsBecomeMarks(t *testing.T) {
	t.Parallel()
	to := place(t)
	_, err := unpack.Layer(t.Context(), to, bytes.NewReader(pipelinetest.Tar(t,
		file(".wh.gone", ""), file("in/.wh.gone", ""),
		dir("all"), file("all/.wh..wh..opq", ""), file("all/new", ""),
		file(".wh.first", ""), dir("first"), file("first/x", ""),
		dir("last"), file("last/x", ""), file(".wh.last", ""),
		file(".wh.implied", ""), file("implied/x", ""),
		file(".wh.file", ""), file("file", "new"),
		file("behind", "new"), file(".wh.behind", ""),
		file(".wh..wh.plnk", ""), file(".wh.dir/x", ""),
	)), unpack.Options{})
	must(t, err)
	at := func(name string) string { return filepath.Join(to.Name(), name) }
	for name, want := range map[string]bool{"gone": true, "in/gone": true, "file": false, "behind": false, "first": false, "last": false, ".wh..wh.plnk": false, "plnk": false} {
		if hidden(at(name)) != want {
			t.Errorf("%s is hidden: %v, want %v", name, !want, want)
		}
	}
	for name, want := range map[string]bool{"all": true, "first": true, "last": true, "implied": true, "in": false} {
		if opaque(t, at(name)) != want {
			t.Errorf("%s is opaque: %v, want %v", name, !want, want)
		}
	}
	for name, there := range map[string]bool{"all/new": true, "first/x": true, "last/x": true, "implied/x": true, "file": true, "behind": true, ".wh.dir": false, "dir": false} {
		if _, err := os.Lstat(at(name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing is below the lowest layer, and its directory may be mounted as it is.
func TestLowestLayerHasNoMarks(t *testing.T) {
	t.Parallel()
	to := place(t)
	_, err := unpack.Layer(t.Context(), to, bytes.NewReader(pipelinetest.Tar(t, dir("d"), file("d/.wh..wh..opq", ""), file("d/.wh.x", ""), file(".wh.y", ""))), unpack.Options{Lowest: true})
	must(t, err)
	if hidden(filepath.Join(to.Name(), "y")) || hidden(filepath.Join(to.Name(), "d/x")) || opaque(t, filepath.Join(to.Name(), "d")) {
		t.Error("there are marks")
	}
}

// A directory without an entry gets what the topmost lower layer says that has it,
// unless one above hides it.
func TestDirectoriesInheritFromLowerLayers(t *testing.T) {
	t.Parallel()
	lowers := make([]*os.File, 2) // the topmost first
	for n, entries := range [][]pipelinetest.File{
		{{Name: "real", Type: tar.TypeSymlink, Link: "moved"}, {Name: "moved", Type: tar.TypeDir, Mode: 0o700}, file("hidden", "a file")},
		{{Name: "tmp", Type: tar.TypeDir, Mode: 0o1777}, {Name: "hidden", Type: tar.TypeDir, Mode: 0o700}},
	} {
		lowers[n] = place(t)
		_, err := unpack.Layer(t.Context(), lowers[n], bytes.NewReader(pipelinetest.Tar(t, entries...)), unpack.Options{})
		must(t, err)
	}
	to := place(t)
	r, err := unpack.Layer(t.Context(), to, bytes.NewReader(pipelinetest.Tar(t, file("tmp/x", ""), file("real/x", ""), file("hidden/x", ""), file("new/x", ""))), unpack.Options{})
	must(t, err)
	must(t, unpack.Inherit(to, r.Implied, lowers))
	for name, want := range map[string]uint32{"tmp": 0o1777, "real": 0o700, "hidden": 0o755, "new": 0o755} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(to.Name(), name), &st))
		if got := st.Mode & 0o7777; got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

// What a stranger sends is refused, or stays within the directory.
func TestHostileLayers(t *testing.T) {
	t.Parallel()
	good := pipelinetest.Compress(t, pipeline.Gzip, pipelinetest.Tar(t, file("x", strings.Repeat("0123456789", 10_000))))
	for name, tc := range map[string]struct {
		raw    []byte
		limits pipeline.Limits
		is     error
	}{
		"cut":                   {raw: good[:len(good)/2]},
		"damaged":               {raw: slices.Concat(good[:len(good)-8], make([]byte, 8))},
		"no tar":                {raw: []byte(strings.Repeat("no tar at all ", 100))},
		"too large":             {raw: good, limits: pipeline.Limits{Layer: 1000}, is: pipeline.ErrLimit},
		"too many":              {raw: pipelinetest.Tar(t, file("a", ""), file("b", "")), limits: pipeline.Limits{Entries: 1}},
		"whiteout of nothing":   {raw: pipelinetest.Tar(t, file("d/.wh.", ""))},
		"whiteout of its place": {raw: pipelinetest.Tar(t, file("d/.wh..", ""))},
		"whiteout above":        {raw: pipelinetest.Tar(t, file("d/.wh...", ""))},
		"link to lower layers":  {raw: pipelinetest.Tar(t, pipelinetest.File{Name: "x", Type: tar.TypeLink, Link: "lower"})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := unpack.Layer(t.Context(), place(t), bytes.NewReader(tc.raw), unpack.Options{Limits: tc.limits})
			if err == nil || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error is %v", err)
			}
		})
	}
	outside := t.TempDir()
	to := place(t)
	_, err := unpack.Layer(t.Context(), to, bytes.NewReader(pipelinetest.Tar(t,
		pipelinetest.File{Name: "out", Type: tar.TypeSymlink, Link: outside}, file("out/x", ""), file("../../x", ""), file("out/.wh.y", ""),
	)), unpack.Options{})
	must(t, err)
	if names, err := os.ReadDir(outside); err != nil || len(names) > 0 {
		t.Errorf("outside there are %v, %v", names, err)
	}
}

func TestWholeLayersHaveEntriesForTheirDirectories(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		files []pipelinetest.File
		want  bool
	}{
		{[]pipelinetest.File{dir("a"), dir("a/b"), file("a/b/c", ""), file("top", "")}, true},
		{[]pipelinetest.File{file("a/b", ""), dir("a")}, true},
		{[]pipelinetest.File{dir("a"), file("a/b/c", "")}, false},
		{[]pipelinetest.File{file("a/.wh.b", "")}, false},
	} {
		raw := pipelinetest.Compress(t, pipeline.Gzip, pipelinetest.Tar(t, tc.files...))
		if got, err := unpack.Whole(t.Context(), bytes.NewReader(raw), pipeline.Limits{}); got != tc.want || err != nil {
			t.Errorf("%v: %v, %v", tc.files, got, err)
		}
	}
}
