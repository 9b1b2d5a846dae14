package overlay_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/bundle"
	"github.com/occystrap/occystrap/pipeline/scheme/dir"
	"github.com/occystrap/occystrap/pipeline/scheme/overlay"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

// began is before anything that a test makes.
var began = time.Now()

// schemes know the places that the tests use.
func schemes(cfg overlay.Config) pipeline.Schemes {
	return pipeline.Schemes{overlay.Scheme(cfg), dir.Scheme(dir.Config{}), bundle.Scheme(bundle.Config{}), tarball.Scheme(tarball.Config{})}
}

// escape writes a path so that a URI has it.
func escape(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23").Replace(path)
}

// mount runs a source into mounts://path, and takes the mount away with the test.
func mount(t testing.TB, cfg overlay.Config, src pipeline.Source, path string, filters ...pipeline.Filter) {
	t.Helper()
	if err := tryMount(t, cfg, src, path, filters...); err != nil {
		t.Fatal(err)
	}
}

func tryMount(t testing.TB, cfg overlay.Config, src pipeline.Source, path string, filters ...pipeline.Filter) error {
	t.Helper()
	needMounts(t)
	t.Cleanup(func() { _ = unix.Unmount(path+"/rootfs", unix.MNT_DETACH) }) // it may be away
	return run(t, cfg, src, "mounts://"+escape(path), filters...)
}

func run(t testing.TB, cfg overlay.Config, src pipeline.Source, to string, filters ...pipeline.Filter) error {
	t.Helper()
	s, err := schemes(cfg).Sink(to)
	if err != nil {
		return err
	}
	_, err = pipeline.Run(t.Context(), src, filters, s, pipeline.Options{})
	return err
}

// imageOf is an image of plain layers.
func imageOf(t testing.TB, layers ...[]byte) *pipelinetest.Source {
	t.Helper()
	s := pipelinetest.NewStore()
	return s.Source(s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layers}), "app:1")
}

// A layer is its files.
type layer []pipelinetest.File

func packed(t testing.TB, layers ...layer) (out [][]byte) {
	t.Helper()
	for _, l := range layers {
		out = append(out, pipelinetest.Tar(t, l...))
	}
	return out
}

// unpacked is where a layer of an image was unpacked.
func unpacked(path string, l []byte) string {
	return filepath.Join(path, digest.FromBytes(l).Encoded(), "layer")
}

// describe lists a tree: all that can be seen of each file. Times that nobody
// gave are "now"; files with one inode name the first of them.
func describe(t testing.TB, root string) (out []string) {
	t.Helper()
	first := map[[2]uint64]string{}
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, p)
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		when := fmt.Sprint(st.Mtim.Sec, ".", st.Mtim.Nsec)
		if !time.Unix(st.Mtim.Unix()).Before(began.Add(-time.Minute)) {
			when = "now"
		}
		inode := [2]uint64{uint64(st.Dev), st.Ino} //nolint:unconvert // not everywhere the same
		same := name
		if f, ok := first[inode]; ok && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			same = f
		}
		first[inode] = same
		out = append(out, fmt.Sprintf("%s mode %o owner %d:%d time %s device %d is %s: %s %s", name, st.Mode, st.Uid, st.Gid, when, st.Rdev, same, body(p, st.Mode), attributes(t, p)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func body(p string, mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		raw, err := os.ReadFile(p)
		if err != nil {
			return err.Error()
		}
		return digest.FromBytes(raw).Encoded()[:16]
	case unix.S_IFLNK:
		to, _ := os.Readlink(p)
		return "-> " + to
	}
	return ""
}

// attributes are those of a file, but for overlayfs's own.
func attributes(t testing.TB, p string) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(p, buf)
	if err != nil {
		return err.Error()
	}
	var out []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" || strings.Contains(name, ".overlay.") {
			continue
		}
		out = append(out, name+"="+attribute(p, name))
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// attribute is the value of one attribute; "" for none.
func attribute(p, name string) string {
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(p, name, buf)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%q", buf[:n])
}

// names lists a tree's files by name, directories with a slash.
func names(t testing.TB, root string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if d.IsDir() {
			rel += "/"
		}
		out = append(out, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// isWhiteout says whether a file is overlayfs's mark for a deleted one.
func isWhiteout(p string) bool {
	info, err := os.Lstat(p)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}

// mounted says whether something is mounted at a path.
func mounted(t testing.TB, path string) bool {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(raw), " "+path+" ")
}

// write makes a file with the directories above it.
func write(t testing.TB, path, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
