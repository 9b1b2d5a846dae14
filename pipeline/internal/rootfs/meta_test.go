//go:build linux

package rootfs_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline/internal/rootfs"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// capability is what setcap cap_net_raw+ep stores (linux/capability.h, revision
// 2).
func capability() string {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, []uint32{0x02000001, 1 << 13, 0, 0, 0})
	return b.String()
}

func rich() layer {
	ping := owned(mode(file("bin/ping", "x"), 0o755), 0, 0)
	ping.PAXRecords["SCHILY.xattr.security.capability"] = capability()
	ping.PAXRecords["SCHILY.xattr.user.note"] = "hello"
	marked := file("marked", "x")
	marked.PAXRecords["SCHILY.xattr.trusted.overlay.opaque"] = "y"
	return layer{
		mode(directory("./"), 0o750), owned(mode(directory("home"), 0o1777), 5, 6), owned(mode(file("home/f", "x"), 0o4711), 1000, 1001),
		directory("bin"), ping, owned(symlink("home/l", "f"), 7, 8), hardlink("home/h", "home/f"),
		{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
		{Name: "disk", Typeflag: tar.TypeBlock, Mode: 0o600, Devmajor: 7, Devminor: 9},
		{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o622},
		mode(directory("closed"), 0o500), file("closed/f", "x"), marked, hardlink("zero", "null"),
	}
}

func TestRootGetsOwnersModesTimesAndAttributes(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir, left, err := unpack(t, rich())
	if err != nil {
		t.Fatal(err)
	}
	if left != "the attribute trusted.overlay.opaque: marked" {
		t.Error(left)
	}
	for name, want := range map[string]string{
		".":        "40750 0:0 links",
		"home":     "41777 5:6 links",
		"home/f":   "104711 1000:1001 links 2 ",
		"home/l":   "120777 7:8 links 1 ",
		"bin/ping": "100755 0:0 links 1 ",
		"null":     fmt.Sprintf("20666 0:0 links 2 time 1700000000.123456789 rdev %d ", unix.Mkdev(1, 3)),
		"disk":     fmt.Sprintf("60600 0:0 links 1 time 1700000000.123456789 rdev %d ", unix.Mkdev(7, 9)),
		"pipe":     "10622 0:0 links 1 ",
		"closed":   "40500 0:0 links",
	} {
		got := describe(t, filepath.Join(dir, name))
		if !strings.Contains(got, " "+want) || !strings.Contains(got, "time 1700000000.123456789") {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	buf := make([]byte, 100)
	n, err := unix.Lgetxattr(dir+"/bin/ping", "security.capability", buf)
	if err != nil || string(buf[:n]) != capability() {
		t.Errorf("security.capability is %x, %v", buf[:max(n, 0)], err)
	}
}

func TestFilesOfLowerDirectoriesKeepTheirTimes(t *testing.T) {
	t.Parallel()
	dir, _, err := unpack(t, layer{directory("d"), file("d/a", "1")}, layer{file("d/b", "2")}, layer{file("d/.wh.a", "")})
	if err != nil {
		t.Fatal(err)
	}
	if st := stat(t, dir+"/d"); st.Mtim.Sec != when.Unix() {
		t.Errorf("the directory's time is that of its unpacking: %d", st.Mtim.Sec)
	}
}

// Packed by GNU tar: 1 GiB with a few bytes in the middle and at the end.
func TestSparseFilesHaveHoles(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"gnu", "posix"} {
		src := filepath.Join(t.TempDir(), "sparse")
		f, err := os.Create(src)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		const size = 64 << 20
		for _, at := range []int64{10 << 20, size - 3} {
			if _, err := f.WriteAt([]byte("end"), at); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.CommandContext(t.Context(), "tar", "--format="+format, "--sparse", "-C", filepath.Dir(src), "-c", "sparse").Output()
		if err != nil {
			t.Skip("no GNU tar: ", err)
		}
		dir := t.TempDir()
		if err := applyRaw(t, dir, out, rootfs.Options{}); err != nil {
			t.Fatal(err)
		}
		want, _ := os.ReadFile(src)
		got, err := os.ReadFile(dir + "/sparse")
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the content differs, %v", format, err)
		}
		if st := stat(t, dir+"/sparse"); st.Blocks*512 > 1<<20 {
			t.Errorf("%s: it takes %d bytes of the disk", format, st.Blocks*512)
		}
		if err := applyRaw(t, t.TempDir(), twice(out), rootfs.Options{Sparse: 2*size - 1}); err == nil || !strings.Contains(err.Error(), "--max-layer-size") {
			t.Errorf("two sparse files are bounded each by itself: %v", err)
		}
		if err := applyRaw(t, t.TempDir(), out, rootfs.Options{Sparse: size - 1}); err == nil || !strings.Contains(err.Error(), "--max-layer-size") {
			t.Errorf("a sparse bomb is taken: %v", err)
		}
	}
}

// twice is a tar with all entries of one twice.
func twice(raw []byte) []byte {
	end := bytes.TrimRight(raw, "\x00")
	whole := (len(end) + 511) / 512 * 512
	return append(bytes.Clone(raw[:whole]), raw...)
}

func applyRaw(t testing.TB, dir string, raw []byte, o rootfs.Options) error {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	tree, err := rootfs.New(d, o)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := tree.Apply(t.Context(), fileOf(t, raw)); err != nil {
		return err
	}
	_, err = tree.Finish()
	return err
}

func TestTruncatedLayerIsAnError(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(layerFile(t, file("a", strings.Repeat("x", 1<<20)), file("b", "y")).Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{300, 1 << 19, 1<<20 + 600} {
		if err := applyRaw(t, t.TempDir(), raw[:n], rootfs.Options{}); err == nil {
			t.Errorf("%d bytes of %d are taken for a layer", n, len(raw))
		}
	}
}

// An ordinary user gets what he may, and is told what is missing. As root, the
// test runs itself as nobody.
func TestUserIsToldWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	if pipelinetest.AsNobody(t, "^TestUserIsToldWhatIsLeftOut$|^TestHostile|^TestLayersMerge") {
		return
	}
	dir, left, err := unpack(t, rich(), layer{file("closed/g", "y")}, layer{file("closed/.wh.f", "")})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"owners: ", "devices: 2, the first is null", "hard links to what is left out: zero", "the attribute security.capability: bin/ping"} {
		if !strings.Contains(left, want) {
			t.Errorf("%q lacks %q", left, want)
		}
	}
	for name, mode := range map[string]fs.FileMode{"home/f": 0o711 | fs.ModeSetuid, "closed": 0o500 | fs.ModeDir, "pipe": 0o622 | fs.ModeNamedPipe, ".": 0o750 | fs.ModeDir} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, %v", name, info, err)
		}
	}
	if raw, err := os.ReadFile(dir + "/closed/g"); err != nil || string(raw) != "y" {
		t.Error(err)
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	if err := rootfs.RemoveAll(parent, filepath.Base(dir)); err != nil {
		t.Errorf("it cannot be removed: %v", err)
	}
}
