package bundle_test

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/bundle"
)

// The layers come in every compression, and one of them twice, as Docker's empty
// layer does; the Python tool crashed on that.
func TestBundleIsRootfsAndTwoConfigs(t *testing.T) {
	t.Parallel()
	for _, c := range []pipeline.Compression{pipeline.Plain, pipeline.Gzip, pipeline.Zstd} {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			empty := pipelinetest.Tar(t)
			lower := pipelinetest.Tar(t, pipelinetest.File{Name: "etc/a", Body: "1"}, pipelinetest.File{Name: "etc/b", Body: "1"})
			upper := pipelinetest.Tar(t, pipelinetest.File{Name: "etc/.wh.a"}, pipelinetest.File{Name: "l", Link: "etc/b", Type: tar.TypeSymlink})
			path := filepath.Join(t.TempDir(), "deep/bundle")
			src := imageOf(t, pipelinetest.Image{Compression: c, Layers: [][]byte{lower, empty, upper, empty}})
			report, err := pipeline.Run(t.Context(), src, nil, open(t, path, bundle.Config{}), pipeline.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := names(t, path); !slices.Equal(got, []string{"config.json", "container-config.json", "rootfs"}) {
				t.Errorf("there are %v", got)
			}
			if got := names(t, path+"/rootfs"); !slices.Equal(got, []string{"etc", "l"}) {
				t.Errorf("in rootfs are %v", got)
			}
			if got := names(t, path+"/rootfs/etc"); !slices.Equal(got, []string{"b"}) {
				t.Errorf("in etc are %v", got)
			}
			if got := digest.FromString(content(t, path+"/container-config.json")); got != report.Roots[0].Config {
				t.Errorf("the image's config is %s, not %s", got, report.Roots[0].Config)
			}
		})
	}
}

// The Python tool left rootfs and config.json out as soon as there was a filter.
func TestFiltersWorkOnBundles(t *testing.T) {
	t.Parallel()
	l := pipelinetest.Tar(t, pipelinetest.File{Name: "keep", Body: "1"}, pipelinetest.File{Name: "drop.pyc", Body: "1"})
	log := filepath.Join(t.TempDir(), "log")
	for spec, want := range map[string][]string{
		"exclude:pattern=*.pyc": {"keep"}, "normalize-timestamps:ts=0": {"drop.pyc", "keep"},
		"inspect:file=" + log: {"drop.pyc", "keep"},
	} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "bundle")
			f, err := filter.Kinds(filter.Defaults{}).New(spec)
			if err != nil {
				t.Fatal(err)
			}
			write(t, layers(t, l), path, f)
			if got := names(t, path+"/rootfs"); !slices.Equal(got, want) {
				t.Errorf("there are %v", got)
			}
			info, err := os.Stat(path + "/rootfs/keep")
			if err != nil || strings.HasPrefix(spec, "normalize") != (info.ModTime().Unix() == 0) {
				t.Errorf("time %v, %v", info.ModTime(), err)
			}
			if got := names(t, path); len(got) != 3 {
				t.Errorf("there are %v", got)
			}
		})
	}
}

// What comes is one image of Linux; all else is refused with the remedy.
func TestOtherThanOneImageIsRefused(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	amd := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{file(t, "amd", "1")}})
	arm := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Platform: "linux/arm64", Layers: [][]byte{file(t, "arm", "1")}})
	windows := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Platform: "windows/amd64", Layers: [][]byte{file(t, "w", "1")}})
	index := s.Index(t, amd, arm, s.Attestation(t, amd.Digest))
	all := pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}}
	for name, c := range map[string]struct {
		root ocispec.Descriptor
		opts pipeline.Options
		err  string
	}{
		"index whole":       {index, all, "choose one with --platform"},
		"index":             {index, pipeline.Options{}, ""},
		"windows":           {windows, pipeline.Options{}, "the image is for windows"},
		"attestation alone": {s.Attestation(t, amd.Digest), pipeline.Options{}, "choose one with --platform"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "bundle")
			_, err := pipeline.Run(t.Context(), s.Source(c.root, "app:1"), nil, open(t, path, bundle.Config{}), c.opts)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			if _, serr := os.Lstat(path); (serr == nil) != (err == nil) {
				t.Errorf("the directory: %v", serr)
			}
		})
	}
}

func TestWrongURIsAreExplained(t *testing.T) {
	t.Parallel()
	scheme := pipeline.Schemes{bundle.Scheme(bundle.Config{})}
	for uri, want := range map[string]string{
		"oci://":               "oci:// URI requires a path",
		"oci://x?rootless=on":  "it takes true or false",
		"oci://x?volumes=disk": "it takes annotation or tmpfs",
		"oci://x?expand=true":  "has no option",
		"oci://x?recompress=x": "recompress",
	} {
		_, err := scheme.Sink(uri)
		var usage *pipeline.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", uri, err, want)
		}
	}
	if _, err := scheme.Source("oci://x"); err == nil || !strings.Contains(err.Error(), "cannot be read from") {
		t.Errorf("as a source: %v", err)
	}
}

// The layers are spooled where --temp-dir says, and nothing is left there.
func TestTempDirHoldsTheLayers(t *testing.T) {
	t.Parallel()
	temp, path := t.TempDir(), filepath.Join(t.TempDir(), "bundle")
	into := func(dir string) error {
		_, err := pipeline.Run(t.Context(), layers(t, file(t, "f", "1")), nil, open(t, path, bundle.Config{TempDir: dir}), pipeline.Options{})
		return err
	}
	if err := into(filepath.Join(temp, "none")); err == nil || !strings.Contains(err.Error(), "--temp-dir") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("a failed run made the directory")
	}
	if err := into(temp); err != nil {
		t.Fatal(err)
	}
	if left := names(t, temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := content(t, path+"/rootfs/f"); got != "1" {
		t.Errorf("the file has %q", got)
	}
}
