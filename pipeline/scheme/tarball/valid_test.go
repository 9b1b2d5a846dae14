package tarball_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/occystrap/occystrap/pipeline"
	ours "github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

func TestArchivesAreValidForOtherTools(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format         string
		layout, docker bool
	}{{"auto", true, true}, {"docker", false, true}, {"oci", true, false}} {
		files, err := filepath.Glob("testdata/images/*.tar")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			t.Run(c.format+"/"+filepath.Base(f), func(t *testing.T) {
				t.Parallel()
				path := output(t, "out.tar")
				src := source(t, "tar://"+f, ours.Config{})
				if _, err := pipeline.Run(t.Context(), src, nil, sink(t, "tar://"+path+"?format="+c.format, ours.Config{}), pipeline.Options{}); err != nil {
					t.Fatal(err)
				}
				before, err := take(t.Context(), source(t, "tar://"+f, ours.Config{}), pipeline.Query{})
				if err != nil {
					t.Fatal(err)
				}
				after, err := take(t.Context(), source(t, "tar://"+path, ours.Config{}), pipeline.Query{})
				if err != nil {
					t.Fatal(err)
				}
				compare(t, before, after)
				if c.layout {
					checkLayout(t, read(t, path))
				}
				if c.docker && !strings.Contains(f, "zstd") {
					checkDocker(t, path)
				}
			})
		}
	}
}

// compare expects the same images, with the same diff IDs and names.
func compare(t *testing.T, before, after taken) {
	t.Helper()
	a, b := before.roots(), after.roots()
	if len(a) != len(b) {
		t.Fatalf("%d images became %d", len(a), len(b))
	}
	for k := range a {
		if d := cmp.Diff(diffIDs(t, before, a[k]), diffIDs(t, after, b[k])); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(a[k].Names, b[k].Names); d != "" {
			t.Error(d)
		}
		if string(a[k].Config) != string(b[k].Config) {
			t.Error("the config changed")
		}
	}
}

// checkLayout unpacks an archive and lets go-containerregistry look at it.
func checkLayout(t *testing.T, raw []byte) {
	t.Helper()
	dir := t.TempDir()
	_, bodies := members(t, raw)
	for name, body := range bodies {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	idx, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(idx, validate.Fast); err != nil {
		t.Error(err)
	}
}

// checkDocker reads the images that manifest.json lists.
func checkDocker(t *testing.T, path string) {
	t.Helper()
	opener := func() (io.ReadCloser, error) { return os.Open(path) }
	m, err := tarball.LoadManifest(opener)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m {
		var tag *name.Tag
		if len(d.RepoTags) > 0 {
			ref, err := name.NewTag(d.RepoTags[0])
			if err != nil {
				t.Fatal(err)
			}
			tag = &ref
		}
		img, err := tarball.Image(opener, tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(img); err != nil {
			t.Error(err)
		}
	}
}
