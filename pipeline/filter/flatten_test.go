//go:build linux

package filter_test

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/internal/rootfs"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// unpacked describes the file system that layers make: a line for each name.
func unpacked(t testing.TB, layers ...[]byte) ([]string, error) {
	t.Helper()
	top, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	tree, err := rootfs.New(top, rootfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for _, l := range layers {
		f := filepath.Join(t.TempDir(), "layer")
		if err := os.WriteFile(f, l, 0o600); err != nil {
			t.Fatal(err)
		}
		layer, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		err = tree.Apply(context.Background(), layer)
		_ = layer.Close()
		if err != nil {
			return nil, err
		}
	}
	if _, err := tree.Finish(); err != nil {
		t.Fatal(err)
	}
	return describeTree(t, top.Name()), nil
}

// describeTree is all that can be seen of files: type, mode, owner, time, content,
// attributes, and which names are one file.
func describeTree(t testing.TB, top string) (lines []string) {
	t.Helper()
	firstName := map[uint64]string{}
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%s %s %d:%d rdev=%d", name, info.Mode(), st.Uid, st.Gid, st.Rdev)
		if info.ModTime().Year() < 2025 && info.ModTime().Unix() != 0 { // others are of directories that no layer names
			line += " " + info.ModTime().UTC().Format("2006-01-02T15:04:05.999999999")
		}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + to
		case d.Type().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", len(b), sha256.Sum256(b))
		}
		if !d.IsDir() && st.Nlink > 1 {
			if firstName[st.Ino] == "" {
				firstName[st.Ino] = name
			}
			line += " is " + firstName[st.Ino]
		}
		lines = append(lines, line+attributes(path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func attributes(path string) (out string) {
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return ""
	}
	for _, name := range slices.Sorted(strings.SplitSeq(string(buf[:n]), "\x00")) {
		value := make([]byte, 1<<16)
		if v, err := unix.Lgetxattr(path, name, value); name != "" && err == nil {
			out += fmt.Sprintf(" %s=%x", name, value[:v])
		}
	}
	return out
}

// flattened are the plain layers of an image after flatten, above a base of so many
// layers.
func flattened(t testing.TB, layers [][]byte, base int, o pipeline.Options) (out [][]byte, err error) {
	t.Helper()
	store := pipelinetest.NewStore()
	img := store.Image(t, pipelinetest.Image{Layers: layers})
	spec, d := "flatten", filter.Defaults{TempDir: t.TempDir()}
	if base > 0 {
		spec = "flatten:base=base"
		d.Images = func(ctx context.Context, _ string, q pipeline.Query) ([]pipeline.Manifest, error) {
			return pipeline.ReadManifests(ctx, store.Source(store.Image(t, pipelinetest.Image{Layers: layers[:base]})), q)
		}
	}
	sink := pipelinetest.NewSink()
	if _, err := pipeline.Run(t.Context(), store.Source(img, "app:1"), []pipeline.Filter{newFilter(t, d, spec)}, sink, o); err != nil {
		return nil, err
	}
	if left, err := os.ReadDir(d.TempDir); err != nil || len(left) > 0 {
		t.Errorf("temporary files left behind: %v (%v)", left, err)
	}
	m := sink.Published[0]
	var im ocispec.Manifest
	if err := json.Unmarshal(m.Raw, &im); err != nil {
		t.Fatal(err)
	}
	for _, l := range im.Layers {
		out = append(out, sink.Store.Bytes(l.Digest))
	}
	return out, nil
}

// wantSameFiles flattens layers, whole and above each of them.
func wantSameFiles(t testing.TB, layers ...[]byte) {
	t.Helper()
	want, werr := unpacked(t, layers...)
	for base := range layers {
		wantFiles(t, want, werr, base, layers)
	}
}

// wantFiles flattens layers above a base and compares what is then unpacked.
func wantFiles(t testing.TB, want []string, werr error, base int, layers [][]byte) {
	t.Helper()
	out, err := flattened(t, layers, base, pipeline.Options{})
	if werr != nil {
		if err == nil && len(out) < len(layers) {
			t.Errorf("above %d layers: flattened what cannot be unpacked: %v", base, werr)
		}
		return
	}
	if err != nil {
		t.Errorf("above %d layers: %v", base, err)
		return
	}
	if wanted := min(base+1, len(layers)); len(out) != wanted {
		t.Errorf("above %d layers: %d layers came out", base, len(out))
	}
	got, err := unpacked(t, out...)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		var lists []string
		for _, l := range out {
			lists = append(lists, fmt.Sprint(list(t, l)))
		}
		t.Errorf("above %d layers (-want +got):\n%s%v\nlayers: %q", base, diff, err, lists)
	}
}

func TestFlattenedImageHasTheSameFiles(t *testing.T) {
	t.Parallel()
	cache := []member{dir("var"), dir("var/cache"), file("var/cache/x", "1"), file("var/cached", "1"), dir("var/cache2"), file("var/cache2/y", "1")}
	for name, layers := range map[string][][]member{
		"file whiteout":                        {cache, {file("var/cache/.wh.x", "")}},
		"directory whiteout":                   {cache, {file("var/.wh.cache", "")}},
		"opaque":                               {cache, {dir("var/cache"), file("var/cache/new", "2"), file("var/cache/.wh..wh..opq", "")}},
		"opaque, and no word on the directory": {cache, {file("var/cache/.wh..wh..opq", "")}},
		"opaque top":                           {cache, {file(".wh..wh..opq", ""), file("new", "2")}, {file("more", "")}},
		"whiteout after what comes":            {{file("a/old", "1")}, {dir("a"), file("a/new", "2"), file(".wh.a", "")}},
		"whiteout and file of one name":        {{file("a", "1")}, {file("a", "2"), file(".wh.a", "")}},
		"whiteout of nothing":                  {{file(".wh.none", ""), file("none/.wh.x", "")}, {file("none/.wh..wh..opq", "")}},
		"whiteout in a file":                   {{file("f", "1")}, {file("f/.wh.x", "")}},
		"spelled otherwise":                    {{file("./etc/a", "1"), file("/etc/b", "1"), file("usr/../etc/c", "1")}, {file("etc/a", "2"), file("./etc/.wh.b", "")}},
		"directory becomes a link":             {{file("d/x", "1"), file("e/y", "1")}, {symlink("d", "e")}, {file("d/z", "2")}},
		"link becomes a directory":             {{file("e/y", "1"), symlink("d", "e")}, {dir("d"), file("d/z", "2")}},
		"file becomes a directory":             {{file("d", "1")}, {file("d/z", "2")}},
		"directory becomes a file":             {{file("d/a/b/c", "1")}, {file("d", "2")}},
		"through an absolute link":             {{dir("usr"), dir("usr/lib"), symlink("lib", "/usr/lib")}, {file("lib/x", "2")}},
		"whiteout through a link":              {{file("usr/lib/x", "1"), symlink("lib", "usr/lib")}, {file("lib/.wh.x", "")}},
		"link above the top":                   {{dir("a"), dir("a/b"), symlink("a/b/up", "../../../../c")}, {file("a/b/up/x", "2")}},
		"links in a circle":                    {{symlink("a", "b"), symlink("b", "a")}, {file("a/.wh.x", "")}},
		"hard link keeps what is replaced":     {{file("a", "1"), link("b", "a")}, {file("a", "2")}},
		"of three names the first goes":        {{file("a", "1"), link("b", "a"), link("c", "b")}, {file(".wh.a", "")}},
		"of three names two go":                {{file("a", "1"), link("b", "a")}, {link("d/c", "b"), file(".wh.a", "")}, {file(".wh.b", "")}},
		"hard link to a lower layer":           {{file("a", "1")}, {link("b", "a")}, {file("c", "")}},
		"hard link to itself":                  {{file("a", "1")}, {link("./a", "a")}},
		"hard link to a link":                  {{symlink("l", "nowhere"), link("m", "l")}, {file(".wh.l", "")}},
		"hard link through a link":             {{dir("d"), file("d/a", "1"), symlink("l", "d")}, {link("b", "l/a")}, {link("l/c", "b")}},
		"hard link to nothing":                 {{file("a", "")}, {link("b", "none")}},
		"hard link to a directory":             {{dir("d")}, {link("b", "d")}},
		"hard link over its target":            {{file("d/a", "")}, {link("d", "d/a")}},
		"aufs's own files":                     {{dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), file("a", "1")}, {file(".wh..wh.aufs", "")}},
		"removed, then made again":             {{file("d/a", "1")}, {file(".wh.d", "")}, {file("d/b", "2")}},
		"empty directory that nobody named":    {{file("d/a", "1")}, {file("d/.wh.a", "")}},
		"directory that is named last":         {{file("d/a", "1")}, {file("x", "")}, {member{tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o1700, ModTime: then, Uid: 7}, ""}}},
		"twice in one layer":                   {{file("a", "1"), file("a", "2"), file("b", "")}, {file("c", "")}},
		"the top itself":                       {{dir("."), file("a", "")}, {member{tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700, ModTime: then}, ""}}},
		"pipes":                                {{member{tar.Header{Typeflag: tar.TypeFifo, Name: "p", Mode: 0o600, ModTime: then}, ""}}, {link("q", "p")}},
		"nothing is left":                      {{file("a", "")}, {file(".wh.a", "")}},
		"names beside a prefix":                {{file("whiteout", "1")}, {file("x.wh.y", "1")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var tars [][]byte
			for _, l := range layers {
				tars = append(tars, tarOf(t, l...))
			}
			wantSameFiles(t, tars...)
		})
	}
}

// Layers by chance, over few names so that they meet.
func TestFlattenedChanceImagesHaveTheSameFiles(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		var layers [][]byte
		for range 2 + r.IntN(4) {
			var members []member
			for range 1 + r.IntN(7) {
				members = append(members, anyMember(r))
			}
			layers = append(layers, tarOf(t, members...))
		}
		wantSameFiles(t, layers...)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func anyMember(r *rand.Rand) member {
	name := func() string {
		var parts []string
		for range 1 + r.IntN(3) {
			parts = append(parts, string("abc"[r.IntN(3)]))
		}
		return strings.Join(parts, "/")
	}
	n := name()
	switch r.IntN(12) {
	case 0, 1, 2:
		m := dir(n)
		m.Mode = 0o700 + int64(r.IntN(64))
		return m
	case 3:
		return symlink(n, []string{"/", "../", "", "./"}[r.IntN(4)]+name())
	case 4, 5:
		return link(n, name())
	case 6, 7:
		return file(filepath.Dir(n)+"/.wh."+filepath.Base(n), "")
	case 8:
		return file(n+"/.wh..wh..opq", "")
	}
	return file(n, fmt.Sprint(r.IntN(1000)))
}

// What other tools have built has the same files, too.
func TestFlattenedSamplesHaveTheSameFiles(t *testing.T) {
	t.Parallel()
	samples, err := filepath.Glob("../scheme/tarball/testdata/images/*.tar")
	if err != nil || len(samples) < 8 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	for _, sample := range samples {
		t.Run(filepath.Base(sample), func(t *testing.T) {
			t.Parallel()
			for _, layers := range layersOf(t, sample) {
				want, err := unpacked(t, layers...)
				for _, base := range []int{0, len(layers) / 2} {
					wantFiles(t, want, err, base, layers)
				}
			}
		})
	}
}

// layersOf are the plain layers of each image in an archive.
func layersOf(t *testing.T, archive string) (images [][][]byte) {
	t.Helper()
	src, err := pipeline.Schemes{tarball.Scheme(tarball.Config{})}.Source("tar://" + archive)
	if err != nil {
		t.Fatal(err)
	}
	sink := pipelinetest.NewSink()
	sink.Wants.Encoding.Compression = pipeline.Plain
	all := pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}}
	if _, err := pipeline.Run(t.Context(), src, nil, sink, all); err != nil {
		t.Fatal(err)
	}
	for _, m := range sink.Committed {
		if !pipeline.IsImage(m) {
			continue
		}
		var im ocispec.Manifest
		if err := json.Unmarshal(m.Raw, &im); err != nil {
			t.Fatal(err)
		}
		var layers [][]byte
		for _, l := range im.Layers {
			layers = append(layers, sink.Store.Bytes(l.Digest))
		}
		images = append(images, layers)
	}
	return images
}
