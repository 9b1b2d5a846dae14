package bundle_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// Nothing of a layer reaches outside rootfs, and a run that is refused changes
// nothing: neither a bundle that is there nor what lies around.
func TestHostileLayerLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	around := t.TempDir()
	path := filepath.Join(around, "bundle")
	writeFile(t, filepath.Join(around, "secret"), "kept")
	refused := pipelinetest.Tar(t, pipelinetest.File{Name: "x", Link: "../../secret", Type: tar.TypeLink})
	contained := pipelinetest.Tar(t,
		pipelinetest.File{Name: "up", Link: "../..", Type: tar.TypeSymlink}, pipelinetest.File{Name: "up/secret", Body: "evil"},
		pipelinetest.File{Name: "../../secret", Body: "evil"}, pipelinetest.File{Name: "../.wh.config.json"})
	before := snapshot(t, around)
	if err := try(t, layers(t, refused), path); err == nil || !strings.Contains(err.Error(), "unpack x: ") {
		t.Errorf("got %v", err)
	}
	if after := snapshot(t, around); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	write(t, layers(t, contained), path)
	if got := content(t, filepath.Join(around, "secret")); got != "kept" {
		t.Errorf("the file outside has %q", got)
	}
	before = snapshot(t, around)
	if err := try(t, layers(t, refused), path); err == nil {
		t.Error("a hostile layer is taken")
	}
	if after := snapshot(t, around); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestStrangersDirectoryIsNotTouched(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ files, err string }{
		"documents":         {"letter.txt", "it is not empty, and no bundle that occystrap made"},
		"a foreign bundle":  {"config.json rootfs/bin/sh umoci.json", "it is not empty, and no bundle that occystrap made"},
		"images":            {"manifest.json catalog.json", "it holds images, not a bundle"},
		"merged directory":  {"manifest.json container-config.json rootfs/x", "it holds images, not a bundle"},
		"a hidden file":     {".profile", "it is not empty"},
		"empty":             {"", ""},
		"ours, interrupted": {"container-config.json", ""},
		"ours":              {"container-config.json config.json rootfs/old", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			for f := range strings.FieldsSeq(c.files) {
				writeFile(t, filepath.Join(path, f), "theirs")
			}
			before := snapshot(t, path)
			err := try(t, layers(t, file(t, "new", "1")), path)
			var usage *pipeline.UsageError
			if c.err == "" {
				if err != nil || len(names(t, path)) != 3 || strings.Join(names(t, path+"/rootfs"), " ") != "new" {
					t.Errorf("%v, there are %v", err, names(t, path))
				}
				return
			}
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v", err)
			}
			if after := snapshot(t, path); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
	plain := filepath.Join(t.TempDir(), "file")
	writeFile(t, plain, "x")
	if err := try(t, layers(t), plain); err == nil || !strings.Contains(err.Error(), "it is a file; name a directory") {
		t.Errorf("got %v", err)
	}
}

// A bundle is replaced whole; what the user put beside it stays.
func TestBundleIsReplacedWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bundle")
	write(t, layers(t, file(t, "old", "1")), path)
	writeFile(t, path+"/notes", "mine")
	writeFile(t, path+"/rootfs/written", "by the container")
	write(t, layers(t, file(t, "new", "1")), path)
	if got := strings.Join(names(t, path), " "); got != "config.json container-config.json notes rootfs" {
		t.Errorf("there are %v", got)
	}
	if got := strings.Join(names(t, path+"/rootfs"), " "); got != "new" {
		t.Errorf("in rootfs are %v", got)
	}
}

func TestFailedRunLeavesTheBundleAsItWas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bundle")
	src := layers(t, file(t, "f", "2"), file(t, "g", "2"))
	g, err := src.Open(t.Context(), pipeline.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for l, err := range g.Layers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		src.Store.Corrupt(l.Blob.Digest, []byte("damaged"))
	}
	if err := try(t, src, path); err == nil {
		t.Fatal("a damaged layer was taken")
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("a failed run made the directory")
	}
	write(t, layers(t, file(t, "f", "1")), path)
	before := snapshot(t, path)
	if err := try(t, src, path); err == nil {
		t.Fatal("a damaged layer was taken")
	}
	if after := snapshot(t, path); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestConcurrentWritersLeaveOneWholeBundle(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bundle")
	var g errgroup.Group
	for i := range 8 {
		src := imageOf(t, pipelinetest.Image{Layers: [][]byte{file(t, "who", fmt.Sprint("hostname=", i))}})
		src.Roots[0].Names = []string{fmt.Sprint("app:", i)}
		g.Go(func() error { return try(t, src, path) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(t, path), " "); got != "config.json container-config.json rootfs" {
		t.Errorf("there are %v", got)
	}
	if got := strings.Join(names(t, path+"/rootfs"), " "); got != "who" {
		t.Errorf("in rootfs are %v", got)
	}
}
