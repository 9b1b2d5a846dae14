package overlay_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/overlay"
)

// D65: without WorkingDir the original failed.
func TestLayoutIsThatOfThePythonTool(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := pipelinetest.NewStore()
	layers := packed(t, layer{file("etc/a", "1")}, layer{file("etc/.wh.a", "")})
	root := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layers, Config: ocispec.ImageConfig{Env: []string{"A=1"}}})
	mount(t, overlay.Config{}, s.Source(root, "example.com/team/app:1"), path)
	for _, name := range []string{"rootfs", "delta", "working", "manifest.json", "catalog.json", "container-config.json", "config.json"} {
		if _, err := os.Lstat(filepath.Join(path, name)); err != nil {
			t.Error(err)
		}
	}
	for _, l := range layers {
		dir := unpacked(path, l)
		if got := read(t, dir+".tar"); got != string(l) {
			t.Errorf("%s.tar has %d bytes, want %d", dir, len(got), len(l))
		}
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", dir, err)
		}
	}
	src, err := schemes(overlay.Config{}).Source("mounts://" + path)
	if err != nil {
		t.Fatal(err)
	}
	g, err := src.Open(t.Context(), pipeline.Query{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for m, err := range g.Manifests(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, path+"/container-config.json"); got != string(m.Config) || !slices.Equal(m.Names, []string{"example.com/team/app:1"}) {
			t.Errorf("container-config.json of %v has %s, want %s", m.Names, got, m.Config)
		}
	}
	if !mounted(t, path+"/rootfs") {
		t.Error("nothing is mounted")
	}
}

// config.json is that of oci://, which is tested there, and of the user in the
// image's own files. Where it cannot be made, none of an earlier image is left.
func TestRuntimeConfigIsThatOfABundle(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	image := func(user string) *pipelinetest.Source {
		s := pipelinetest.NewStore()
		layers := packed(t, layer{symlink("etc", "usr/etc"), file("usr/etc/passwd", "app:x:7:8::/:")}, layer{file("etc/group", "app:x:8:\nlog:x:9:app\n")})
		config := ocispec.ImageConfig{User: user, Cmd: []string{"x"}, Env: []string{"A=1"}, Labels: map[string]string{"run.oci.handler": "krun"}}
		return s.Source(s.Image(t, pipelinetest.Image{Layers: layers, Config: config}), "app:1")
	}
	var w pipelinetest.Warnings
	mount(t, overlay.Config{Events: w.Events}, image("app"), top+"/mounts")
	if err := run(t, overlay.Config{}, image("app"), "oci://"+top+"/bundle?rootless=false"); err != nil {
		t.Fatal(err)
	}
	got := read(t, top+"/mounts/config.json")
	if got != read(t, top+"/bundle/config.json") || !strings.Contains(got, `"uid": 7`) {
		t.Errorf("config.json is %s", got)
	}
	unmount(t, top+"/mounts")
	mount(t, overlay.Config{Events: w.Events}, image("nobody"), top+"/mounts")
	if _, err := os.Lstat(top + "/mounts/config.json"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("config.json is there: %v", err)
	}
	told := strings.Join(w.List, "\n")
	for _, what := range []string{"run.oci.handler", `there is no config.json: find the image's user "nobody"`} {
		if !strings.Contains(told, what) {
			t.Errorf("%q does not say %q", told, what)
		}
	}
}

// The original left out what mounts:// promises as soon as there was a filter.
func TestMountsAndFilters(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string][]string{
		"exclude:pattern=*.pyc": {"d/", "d/keep"}, "normalize-timestamps:ts=0": {"d/", "d/drop.pyc", "d/keep"},
		"inspect:file=" + filepath.Join(t.TempDir(), "inspected"): {"d/", "d/drop.pyc", "d/keep"},
	} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			f, err := filter.Kinds(filter.Defaults{}).New(spec)
			if err != nil {
				t.Fatal(err)
			}
			mount(t, overlay.Config{}, imageOf(t, packed(t, layer{folder("d", 0o755), file("d/keep", "1"), file("d/drop.pyc", "1")})...), path, f)
			if got := names(t, path+"/rootfs"); !slices.Equal(got, want) {
				t.Errorf("there are %v", got)
			}
			info, err := os.Stat(path + "/rootfs/d/keep")
			if err != nil || strings.HasPrefix(spec, "normalize") != (info.ModTime().Unix() == 0) {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}

func TestFailedRunLeavesNothing(t *testing.T) {
	t.Parallel()
	needMounts(t)
	good := layer{file("a", "1")}
	for name, bad := range map[string]layer{
		"hard link to nothing": {hardlink("x", "none")},
		"whiteout of dot dot":  {file("a/.wh...", "")},
		"links in a circle":    {symlink("x", "y"), symlink("y", "x"), file("x/f", "1")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			path := top + "/new"
			err := tryMount(t, overlay.Config{}, imageOf(t, packed(t, good, bad)...), path)
			if err == nil || !strings.Contains(err.Error(), "unpack layer sha256:") {
				t.Errorf("got %v", err)
			}
			if left, err := os.ReadDir(top); err != nil || len(left) > 0 {
				t.Errorf("there are %v, %v", left, err)
			}
		})
	}
}

func TestFullDiskLeavesWhatWasThere(t *testing.T) {
	t.Parallel()
	needMounts(t)
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	keep, big := packed(t, layer{file("keep", "1")}), packed(t, layer{file("big", strings.Repeat("x", 600<<10))})
	mount(t, overlay.Config{}, imageOf(t, keep...), disk+"/old")
	unmount(t, disk+"/old")
	for _, path := range []string{disk + "/old", disk + "/new"} { // its tar has room, and what is unpacked has not
		if err := tryMount(t, overlay.Config{}, imageOf(t, big...), path); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("got %v", err)
		}
		if mounted(t, path+"/rootfs") {
			t.Errorf("%s is mounted", path)
		}
	}
	if left, err := os.ReadDir(disk); err != nil || len(left) != 1 {
		t.Errorf("there are %v, %v", left, err)
	}
	mount(t, overlay.Config{}, imageOf(t, keep...), disk+"/old")
	if got := names(t, disk+"/old/rootfs"); !slices.Equal(got, []string{"keep"}) {
		t.Errorf("there are %v", got)
	}
}

func TestDirectoryThatCannotBeMountedOnIsRefused(t *testing.T) {
	t.Parallel()
	needMounts(t)
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		err  string
	}{
		"rootfs is full":    {func(t *testing.T, path string) { t.Helper(); write(t, path+"/rootfs/f", "1") }, "rootfs is not empty"},
		"rootfs is a file":  {func(t *testing.T, path string) { t.Helper(); write(t, path+"/rootfs", "1") }, "rootfs is not a directory"},
		"rootfs is a link":  {func(t *testing.T, path string) { t.Helper(); link(t, "..", path+"/rootfs") }, "rootfs is not a directory"},
		"delta is a link":   {func(t *testing.T, path string) { t.Helper(); link(t, "..", path+"/delta") }, "delta is not a directory"},
		"delta of no image": {func(t *testing.T, path string) { t.Helper(); write(t, path+"/delta/f", "1") }, "delta holds changes to another image"},
		"delta of who knows": {func(t *testing.T, path string) {
			t.Helper()
			write(t, path+"/delta/f", "1")
			write(t, path+"/container-config.json", "{")
		}, "delta holds changes to another image"},
		"an OCI layout":    {func(t *testing.T, path string) { t.Helper(); prepare(t, "dir://"+path+"?format=oci") }, "it is an OCI layout; write dir://"},
		"dir's own layers": {func(t *testing.T, path string) { t.Helper(); prepare(t, "dir://"+path+"?expand=layers") }, "layers that dir://?expand=layers has unpacked"},
		"a file":           {func(t *testing.T, path string) { t.Helper(); remove(t, path); write(t, path, "1") }, "it is a file"},
		"delta, and a config that is a pipe": {func(t *testing.T, path string) {
			t.Helper()
			write(t, path+"/delta/f", "1")
			if err := syscall.Mkfifo(path+"/container-config.json", 0o600); err != nil {
				t.Fatal(err)
			}
		}, "delta holds changes to another image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir() + "/dir"
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
			c.make(t, path)
			err := tryMount(t, overlay.Config{}, imageOf(t, packed(t, layer{file("a", "1")})...), path)
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v", err)
			}
			if mounted(t, path+"/rootfs") {
				t.Error("it is mounted all the same")
			}
			if left, _ := filepath.Glob(path + "/.occystrap-*"); len(left) > 0 {
				t.Errorf("there are %v", left)
			}
		})
	}
}

// prepare writes an image to a place that is not mounts://.
func prepare(t *testing.T, to string) {
	t.Helper()
	if err := run(t, overlay.Config{}, imageOf(t, packed(t, layer{file("a", "1")})...), to); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// What was changed in the mounted tree is the user's.
func TestChangesOutliveTheMount(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	first, second := packed(t, layer{file("a", "1"), file("b", "1")}), packed(t, layer{file("c", "2")})
	mount(t, overlay.Config{}, imageOf(t, first...), path)
	err := tryMount(t, overlay.Config{}, imageOf(t, first...), path)
	if err == nil || !strings.Contains(err.Error(), "an image is mounted at rootfs; take it apart first: occystrap umount "+path) {
		t.Errorf("got %v", err)
	}
	write(t, path+"/rootfs/new/file", "mine")
	remove(t, path+"/rootfs/a")
	unmount(t, path)
	if err := tryMount(t, overlay.Config{}, imageOf(t, second...), path); err == nil || !strings.Contains(err.Error(), "delta holds changes to another image") {
		t.Errorf("got %v", err)
	}
	mount(t, overlay.Config{}, imageOf(t, first...), path)
	if got := names(t, path+"/rootfs"); !slices.Equal(got, []string{"b", "new/", "new/file"}) {
		t.Errorf("there are %v", got)
	}
}

func unmount(t *testing.T, path string) {
	t.Helper()
	if err := overlay.Unmount(path, false); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherImageTakesThePlaceOfOneWithoutChanges(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	base, first, second := layer{folder("d", 0o711), file("d/a", "1")}, layer{file("d/b", "1")}, layer{file("d/.wh.a", "")}
	mount(t, overlay.Config{}, imageOf(t, packed(t, base, first, first)...), path)
	unmount(t, path)
	mount(t, overlay.Config{}, imageOf(t, packed(t, second, base)...), path)
	if got := names(t, path+"/rootfs"); !slices.Equal(got, []string{"d/", "d/a"}) {
		t.Errorf("there are %v", got)
	}
	if err := run(t, overlay.Config{}, imageOf(t, packed(t, base)...), "dir://"+path+"?expand=layers"); err == nil || !strings.Contains(err.Error(), "unpacked for mounts://") {
		t.Errorf("got %v", err)
	}
	if trees, err := filepath.Glob(path + "/*/layer*"); err != nil || len(trees) != 3+2 { // three tars, two trees
		t.Errorf("unpacked are %v, %v", trees, err)
	}
}

// D63: the original did not say that it takes privilege. In a user namespace
// without a mount namespace root may not mount.
func TestWithoutPrivilegeItSaysWhatToDo(t *testing.T) {
	t.Parallel()
	if os.Getenv(inside) == "user only" {
		top := t.TempDir()
		err := run(t, overlay.Config{}, imageOf(t, packed(t, layer{file("a", "1")})...), "mounts://"+top+"/new")
		if err == nil || !strings.Contains(err.Error(), "run it as root, or in a namespace of your own (unshare") {
			t.Errorf("got %v", err)
		}
		if left, err := os.ReadDir(top); err != nil || len(left) > 0 {
			t.Errorf("there are %v, %v", left, err)
		}
		return
	}
	needMounts(t)
	if err := again(syscall.CLONE_NEWUSER, "user only", "-test.run=^TestWithoutPrivilegeItSaysWhatToDo$"); err != nil {
		t.Error(err)
	}
}

func TestMoreLayersThanOverlayfsTakesAreRefused(t *testing.T) {
	t.Parallel()
	many := make([]layer, 501)
	mount(t, overlay.Config{}, imageOf(t, packed(t, many[:500]...)...), t.TempDir())
	for way, c := range map[string]struct {
		layers int
		err    string
	}{
		"by file":   {501, "has 501 layers, and overlayfs of this kernel takes 500"},
		"by string": {300, "has 300 layers, and overlayfs of this kernel takes 191"},
	} {
		err := tryMount(t, overlay.By(overlay.Config{}, overlay.Ways()[way]), imageOf(t, packed(t, many[:c.layers]...)...), t.TempDir())
		if os.Getpagesize() == 4096 && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %v", way, err)
		}
	}
}

func TestUnmountTakesApartWhatIsOurs(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	mount(t, overlay.Config{}, imageOf(t, packed(t, layer{file("a", "1")})...), path)
	f, err := os.Open(path + "/rootfs/a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := overlay.Unmount(path, false); err == nil || !strings.Contains(err.Error(), "is in use") || !strings.Contains(err.Error(), "--lazy") {
		t.Errorf("got %v", err)
	}
	if err := overlay.Unmount(path, true); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"delta", "working", "manifest.json", "rootfs"} {
		if _, err := os.Lstat(filepath.Join(path, name)); err != nil {
			t.Error(err)
		}
	}
	if err := overlay.Unmount(path, false); err == nil || !strings.Contains(err.Error(), "nothing is mounted at "+path+"/rootfs") {
		t.Errorf("got %v", err)
	}
	if err := overlay.Unmount(path+"/none", false); err == nil || !strings.Contains(err.Error(), "no such directory") {
		t.Errorf("got %v", err)
	}
}

func TestUnmountLeavesAloneWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	needMounts(t)
	path := t.TempDir()
	mount(t, overlay.Config{}, imageOf(t, packed(t, layer{file("a", "1")})...), path)
	at := path + "/rootfs"
	if err := unix.Mount("theirs", at, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	if err := overlay.Unmount(path, true); err == nil || !strings.Contains(err.Error(), "was not mounted by mounts://") {
		t.Errorf("got %v", err)
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	unmount(t, path)
	remove(t, at)
	link(t, ".", at)
	if err := overlay.Unmount(path, false); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("got %v", err)
	}
}

// A file system that overlayfs does not take is told of before anything travels.
func TestUnfitFileSystemIsRefused(t *testing.T) {
	t.Parallel()
	lower := t.TempDir()
	mount(t, overlay.Config{}, imageOf(t, packed(t, layer{file("a", "1")})...), lower)
	err := tryMount(t, overlay.Config{}, imageOf(t, packed(t, layer{file("b", "1")})...), lower+"/rootfs/inner")
	if err == nil || !strings.Contains(err.Error(), "does not do for overlayfs") || errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(lower + "/rootfs/inner"); err == nil {
		t.Error("the directory is there")
	}
}
