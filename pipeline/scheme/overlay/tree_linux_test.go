package overlay_test

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/overlay"
)

func file(name, body string) pipelinetest.File { return pipelinetest.File{Name: name, Body: body} }

func folder(name string, mode int64) pipelinetest.File {
	return pipelinetest.File{Name: name + "/", Mode: mode}
}

func symlink(name, to string) pipelinetest.File {
	return pipelinetest.File{Name: name, Link: to, Type: tar.TypeSymlink, Mode: 0o777}
}

func hardlink(name, to string) pipelinetest.File {
	return pipelinetest.File{Name: name, Link: to, Type: tar.TypeLink}
}

func attributed(f pipelinetest.File, name, value string) pipelinetest.File {
	f.PAX = map[string]string{"SCHILY.xattr." + name: value}
	return f
}

// difficult are images whose layers mean something upon one another only.
func difficult() map[string][]layer {
	cache := layer{folder("var", 0o750), folder("var/cache", 0o711), file("var/cache/x", "1"), folder("var/cache/d", 0o700), file("var/cache/d/y", "1"), file("var/cached", "1")}
	again := layer{file(".wh.etc", ""), file("opt/a", "again"), file("opt/.wh.old", "")}
	rich := pipelinetest.File{Name: "bin/su", Body: "x", Mode: 0o4755, UID: 3, GID: 4, PAX: map[string]string{"SCHILY.xattr.user.note": "hello", "SCHILY.xattr.trusted.note": "t"}}
	var many []layer
	for i := range 130 { // Docker's own limit is 127
		many = append(many, layer{file(fmt.Sprint("d/", i), "x"), file(fmt.Sprint("d/.wh.", i-2), "")})
	}
	return map[string][]layer{
		"whiteout at the top":            {cache, {file(".wh.var", "")}},
		"whiteout in a directory":        {cache, {file("var/cache/.wh.x", "")}},
		"whiteout of a directory":        {cache, {file("var/.wh.cache", "")}},
		"whiteout of a nested directory": {cache, {file("var/cache/.wh.d", "")}, {file("var/cache/d/new", "2")}},
		"whiteout of nothing":            {cache, {file(".wh.none", ""), file("none/.wh.x", ""), file("var/.wh.none", ""), file("new/d/.wh.x", "")}},
		"whiteout in the lowest layer":   {{file("a/.wh.b", ""), file("a/c", "1"), file("a/.wh..wh..opq", "")}},
		"opaque":                         {cache, {folder("var/cache", 0o755), file("var/cache/.wh..wh..opq", ""), file("var/cache/new", "2")}},
		"opaque, said last":              {cache, {file("var/cache/new", "2"), file("var/cache/.wh..wh..opq", "")}},
		"opaque without an entry":        {cache, {file("var/cache/.wh..wh..opq", "")}},
		"opaque, nested":                 {cache, {file("var/.wh..wh..opq", ""), file("var/cache/.wh..wh..opq", ""), file("var/cache/new", "2")}},
		"opaque top":                     {cache, {file(".wh..wh..opq", ""), file("new", "2")}},
		"directory becomes a file":       {cache, {file("var", "2")}, {file("var/x", "3")}},
		"directory becomes a link":       {cache, {symlink("var", "tmp")}, {file("var/x", "3")}},
		"link becomes a directory":       {{symlink("var", "tmp"), file("tmp/x", "1")}, {folder("var", 0o700), file("var/x", "2")}},
		"removed, then made again":       {cache, {file(".wh.var", "")}, {file("var/new", "2")}},
		"removed and made in one layer":  {cache, {file("var/new", "2"), file(".wh.var", "")}},
		"through a link below":           {{folder("usr/lib", 0o711), symlink("lib", "usr/lib")}, {file("lib/x", "2"), file("/lib/y", "2")}, {file("lib/.wh.x", "")}},
		"link above the top":             {{folder("a", 0o700), symlink("a/up", "../../../b")}, {file("a/up/x", "2")}},
		"implied directories":            {{folder("tmp", 0o1777), folder("home", 0o700), {Name: "home/u/", Mode: 0o750, UID: 7, GID: 8, PAX: map[string]string{"SCHILY.xattr.user.a": "b"}}}, {file("tmp/x", "1"), file("home/u/f", "1")}, {file("tmp/.wh.x", "")}},
		"the top itself":                 {{{Name: "./", Type: tar.TypeDir, Mode: 0o711, UID: 5, GID: 6}, file("a", "1")}, {file("b", "2")}},
		"owners, modes and attributes":   {{folder("bin", 0o755), rich, {Name: "pipe", Type: tar.TypeFifo, Mode: 0o622}, symlink("l", "nowhere")}, {folder("bin", 0o2755), file("bin/x", "2")}},
		"attributes that go":             {{attributed(folder("d", 0o755), "user.a", "1"), attributed(folder("e", 0o755), "user.b", "1")}, {folder("d", 0o755), file("e/x", "")}},
		"attributes of opaque":           {{attributed(folder("d", 0o755), "user.a", "1"), file("d/x", "1")}, {file("d/.wh..wh..opq", "")}, {file("d/y", "1")}},
		"attributes of the top":          {{attributed(pipelinetest.File{Name: "./", Type: tar.TypeDir, Mode: 0o755}, "user.a", "1")}, {file("x", "1")}, {{Name: "./", Type: tar.TypeDir, Mode: 0o711}}},
		"default ACL of a lower layer": {
			{attributed(folder("d", 0o755), "system.posix_acl_default", "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x20\x00\x05\x00\xff\xff\xff\xff"), file("d/f", "1")},
			{file("d/g", "1"), folder("d/h", 0o777), file("d/implied/i", "2"), {Name: "d/pipe", Type: tar.TypeFifo, Mode: 0o622}},
			{file("d/h/j", "2")},
		},
		"hard links in a layer":           {{file("a", "1"), hardlink("d/b", "a")}, {file("a", "2")}},
		"hard link to a lower layer":      {{folder("d", 0o711), rich, file("d/a", "1")}, {hardlink("b", "d/a"), hardlink("c", "b"), hardlink("su", "bin/su")}},
		"hard link to a lower symlink":    {{symlink("l", "nowhere")}, {hardlink("m", "l")}},
		"hard link to what is then gone":  {{file("a", "1")}, {hardlink("b", "a")}, {file(".wh.a", "")}},
		"a layer twice":                   {{file("etc/a", "1"), file("opt/old", "1")}, again, {file("etc/b", "2"), file("opt/old", "2"), file("opt/a", "other")}, again},
		"a layer twice, one on the other": {{file("etc/a", "1"), file("opt/old", "1")}, again, again},
		"a layer twice that hides":        {{file("etc/a", "1")}, {file(".wh.etc", "")}, {file("b", "2")}, {file(".wh.etc", "")}},
		"a layer twice, a link between":   {{file("a", "1")}, {hardlink("b", "a")}, {file("a", "2"), hardlink("c", "b")}, {hardlink("b", "a")}},
		"layers of nothing":               {{}, {file("a", "1")}, {}, {}},
		"no layer":                        nil,
		"130 layers":                      many,
	}
}

// D63, D25: what is mounted is what dir://?expand=true unpacks, in each way that
// there is to mount, in a directory whose name means something to shells and to
// option strings.
func TestMountedTreeIsTheUnpackedOne(t *testing.T) {
	t.Parallel()
	const nasty = `a:b,c\d $(touch injected); x`
	for name, way := range overlay.Ways() {
		for about, layers := range difficult() {
			if name != "by file" && about != "130 layers" && about != "no layer" && about != "a layer twice" {
				continue // these ways differ in the call alone
			}
			t.Run(name+"/"+about, func(t *testing.T) {
				t.Parallel()
				top := t.TempDir()
				src := imageOf(t, packed(t, layers...)...)
				path := filepath.Join(top, nasty)
				mount(t, overlay.By(overlay.Config{}, way), src, path)
				if err := run(t, overlay.Config{}, src, "dir://"+top+"/dir?expand=true"); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(describe(t, top+"/dir/manifest"), describe(t, path+"/rootfs")); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

// The archives that other tools have made.
func TestMountedSamples(t *testing.T) {
	t.Parallel()
	samples, err := filepath.Glob("../tarball/testdata/images/*.tar")
	if err != nil || len(samples) < 8 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	for _, sample := range samples {
		t.Run(strings.TrimSuffix(filepath.Base(sample), ".tar"), func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			src := func() pipeline.Source {
				s, err := schemes(overlay.Config{}).Source("tar://" + sample)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			mount(t, overlay.Config{}, src(), top+"/mounts")
			if err := run(t, overlay.Config{}, src(), "dir://"+top+"/dir?expand=true"); err != nil {
				t.Fatal(err)
			}
			got := describe(t, top+"/mounts/rootfs")
			if d := cmp.Diff(describe(t, top+"/dir/manifest"), got); d != "" || len(got) < 2 {
				t.Errorf("%d files, %s", len(got), d)
			}
		})
	}
}

// D63: the original put them at the top, or failed.
func TestWhiteoutsAreDevicesAtAnyDepth(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	layers := packed(t, layer{file("top", "1"), file("d/d/x", "1"), file("a/b/c/deep", "1"), file("a/b/c/other", "1"), file("a/e/e/x", "1")},
		layer{file(".wh.top", ""), file(".wh.d", ""), file("a/.wh.e", ""), file("a/b/c/.wh.deep", "")})
	mount(t, overlay.Config{}, imageOf(t, layers...), path)
	whiteouts := []string{"top", "d", "a/e", "a/b/c/deep"}
	for _, name := range whiteouts {
		if p := filepath.Join(unpacked(path, layers[1]), name); !isWhiteout(p) {
			t.Errorf("%s is no whiteout", p)
		}
	}
	if got := names(t, path+"/rootfs"); !slices.Equal(got, []string{"a/", "a/b/", "a/b/c/", "a/b/c/other"}) {
		t.Errorf("there are %v", got)
	}
	if got := names(t, unpacked(path, layers[1])); len(got) != len(whiteouts)+3 { // and a, a/b, a/b/c
		t.Errorf("the layer has %v", got)
	}
}

func TestOpaqueDirectoriesHaveTheMark(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	layers := packed(t, layer{file("a/b/old", "1")}, layer{file("a/b/.wh..wh..opq", ""), file("a/b/new", "2")})
	mount(t, overlay.Config{}, imageOf(t, layers...), path)
	mark := "trusted.overlay.opaque"
	if os.Getenv(inside) == "user" {
		mark = "user.overlay.opaque"
	}
	if got := attribute(unpacked(path, layers[1])+"/a/b", mark); got != `"y"` {
		t.Errorf("%s is %s", mark, got)
	}
	if got := names(t, unpacked(path, layers[1])); !slices.Equal(got, []string{"a/", "a/b/", "a/b/new"}) {
		t.Errorf("the layer has %v", got)
	}
}

// A layer could steer overlayfs by its own marks: to show another directory, or a
// file of another name.
func TestMarksOfALayerAreLeftOut(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	marked := func(name, key, value string) pipelinetest.File {
		return pipelinetest.File{Name: name, Mode: 0o755, PAX: map[string]string{"SCHILY.xattr." + key: value}}
	}
	bad := packed(t, layer{file("secret/x", "1"), file("etc/passwd", "1")}, layer{
		marked("a/", "trusted.overlay.redirect", "/secret"), marked("b/", "user.overlay.redirect", "/secret"),
		marked("etc/", "trusted.overlay.opaque", "y"), marked("c", "trusted.overlay.metacopy", ""), marked("d", "user.overlay.whiteout", "y"),
		marked("e/", "trusted.overlay.overlay.opaque", "y"),
		{Name: "secret/x", Type: tar.TypeChar, Mode: 0o600},
	})
	var w pipelinetest.Warnings
	mount(t, overlay.Config{Events: w.Events}, imageOf(t, bad...), path)
	want := []string{"a/", "b/", "c", "d", "e/", "etc/", "etc/passwd", "secret/"}
	if got := names(t, path+"/rootfs"); !slices.Equal(got, want) {
		t.Errorf("there are %v", got)
	}
	told := strings.Join(w.List, "\n")
	for _, what := range []string{"devices: secret/x", "the attribute trusted.overlay.redirect: a", "the attribute user.overlay.whiteout: d", "the attribute trusted.overlay.opaque: etc"} {
		if !strings.Contains(told, what) {
			t.Errorf("%q does not say %q", told, what)
		}
	}
}
