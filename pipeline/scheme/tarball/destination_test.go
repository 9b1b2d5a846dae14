package tarball_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	ours "github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

func TestWholeArchiveIsCompressedByNameOrOption(t *testing.T) {
	t.Parallel()
	i := newImage(t, "compress", 2)
	raw := i.dockerSave(t, "app:1")
	for _, c := range []struct{ name, query, magic string }{
		{"out.tar.gz", "", "\x1f\x8b"},
		{"out.tgz", "", "\x1f\x8b"},
		{"out.tar.zst", "", "\x28\xb5\x2f\xfd"},
		{"out", "?compress=zstd", "\x28\xb5\x2f\xfd"},
		{"out.tar.gz", "?compress=none", "oci-layout"},
	} {
		t.Run(c.name+c.query, func(t *testing.T) {
			t.Parallel()
			var first []byte
			for range 2 {
				path := output(t, c.name)
				if _, err := process(t, raw, "tar://"+path+c.query, ours.Config{}); err != nil {
					t.Fatal(err)
				}
				out := read(t, path)
				if !strings.HasPrefix(string(out), c.magic) {
					t.Fatalf("it starts with %q", out[:10])
				}
				if first != nil && !bytes.Equal(first, out) {
					t.Error("two runs gave different bytes")
				}
				first = out
			}
			expect(t, first, i)
		})
	}
}

func TestStandardOutputGetsTheBytesOfAFile(t *testing.T) {
	t.Parallel()
	raw := newImage(t, "stdout", 4).oci(t, nil, gzipped, ocispec.MediaTypeImageLayerGzip, nil)
	path := output(t, "out.tar")
	if _, err := process(t, raw, "tar://"+path, ours.Config{}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := process(t, raw, "tar://-", ours.Config{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), read(t, path)) {
		t.Error("standard output got other bytes than a file")
	}
}

func TestExistingArchiveSurvivesAFailure(t *testing.T) {
	t.Parallel()
	i := newImage(t, "survive", 2)
	good := i.dockerSave(t, "app:1")
	path := output(t, "out.tar")
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := i.oci(t, func(es []entry) []entry { es[1].body[100] ^= 1; return es }, plain, ocispec.MediaTypeImageLayer, nil)
	if _, err := process(t, broken, "tar://"+path, ours.Config{}); !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(read(t, path), good) {
		t.Error("the archive that was there is damaged")
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSameFileAsSourceAndDestination(t *testing.T) {
	t.Parallel()
	i := newImage(t, "same", 2)
	path := output(t, "image.tar")
	if err := os.WriteFile(path, i.dockerSave(t, "app:1"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(path), "link.tar")
	if err := os.Symlink("image.tar", link); err != nil {
		t.Fatal(err)
	}
	if _, err := pipeline.Run(t.Context(), source(t, "tar://"+path, ours.Config{}), nil, sink(t, "tar://"+link, ours.Config{}), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	expect(t, read(t, path), i)
	if to, err := os.Readlink(link); err != nil || to != "image.tar" {
		t.Errorf("the link was replaced: %v, %v", to, err)
	}
}

func TestReplacedArchiveKeepsItsMode(t *testing.T) {
	t.Parallel()
	raw := newImage(t, "mode", 1).dockerSave(t)
	path := output(t, "image.tar")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := process(t, raw, "tar://"+path, ours.Config{}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestLinkToNothingIsFollowed(t *testing.T) {
	t.Parallel()
	raw := newImage(t, "link", 1).dockerSave(t)
	path := output(t, "image.tar")
	link := filepath.Join(filepath.Dir(path), "link.tar")
	if err := os.Symlink("image.tar", link); err != nil {
		t.Fatal(err)
	}
	if _, err := process(t, raw, "tar://"+link, ours.Config{}); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != "image.tar" {
		t.Errorf("the link was replaced: %v, %v", to, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	circle := filepath.Join(filepath.Dir(path), "circle.tar")
	if err := os.Symlink("circle.tar", circle); err != nil {
		t.Fatal(err)
	}
	if _, err := process(t, raw, "tar://"+circle, ours.Config{}); err == nil {
		t.Error("a circle was followed")
	}
}

func TestDestinationThatCannotBeWrittenIsExplained(t *testing.T) {
	t.Parallel()
	raw := newImage(t, "full", 1).dockerSave(t)
	dir := t.TempDir()
	for name, c := range map[string]struct {
		uri, want string
		is        error
	}{
		"full disk":         {"tar:///dev/full", "/dev/full", syscall.ENOSPC},
		"directory":         {"tar://" + dir, "is a directory", nil},
		"missing directory": {"tar://" + dir + "/none/out.tar", "make it first", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := process(t, raw, c.uri, ours.Config{})
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNewFileHasTheModeOfTheUmask(t *testing.T) {
	t.Parallel()
	path := output(t, "out.tar")
	plain, err := os.Create(output(t, "plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := process(t, newImage(t, "mode", 1).dockerSave(t), "tar://"+path, ours.Config{}); err != nil {
		t.Fatal(err)
	}
	want, err := plain.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.Stat(path); err != nil || got.Mode() != want.Mode() {
		t.Errorf("mode %v, want %v (%v)", got.Mode(), want.Mode(), err)
	}
}
