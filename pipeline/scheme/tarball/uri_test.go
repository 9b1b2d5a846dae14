package tarball_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

const sample = "testdata/images/ggcr-whiteout_image.tar"

func TestFormsOfTheSourceURI(t *testing.T) {
	t.Parallel()
	abs, err := filepath.Abs(sample)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	odd := filepath.Join(dir, "a b?#+%.tar")
	raw, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(odd, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, uri := range map[string]string{
		"relative":                    "tar://" + sample,
		"relative with a dot":         "tar://./" + sample,
		"through the parent":          "tar://../tarball/" + sample,
		"absolute":                    "tar://" + abs,
		"localhost":                   "tar://localhost" + abs,
		"short":                       "tar:" + sample,
		"short and absolute":          "tar:" + abs,
		"alias":                       "file://" + abs,
		"upper case scheme":           "TAR://" + abs,
		"percent-encoded":             "tar://" + dir + "/a%20b%3f%23+%25.tar",
		"percent in the first name":   "tar://test%64ata/images/ggcr-whiteout_image.tar",
		"blank option and a fragment": "tar://" + abs + "?image=#part",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := take(t.Context(), source(t, uri, tarball.Config{}), pipeline.Query{})
			if err != nil || len(got.diffIDs) != 3 {
				t.Errorf("%d layers, %v", len(got.diffIDs), err)
			}
		})
	}
}

func TestFormsOfTheDestinationURI(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, uri := range []string{"tar://" + dir + "/a.tar", "file://" + dir + "/b.tar", "tar:" + dir + "/c.tar", "TAR://localhost" + dir + "/d%2Etar"} {
		if _, err := process(t, newImage(t, "uri", 1).dockerSave(t), uri, tarball.Config{}); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
	for _, name := range []string{"a.tar", "b.tar", "c.tar", "d.tar"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestMistakesInURIsAreUsageErrors(t *testing.T) {
	t.Parallel()
	schemes := pipeline.Schemes{tarball.Scheme(tarball.Config{})}
	open := map[string]func(string) error{
		"source": func(uri string) error { _, err := schemes.Source(uri); return err },
		"sink":   func(uri string) error { _, err := schemes.Sink(uri); return err },
	}
	for _, c := range []struct{ end, uri, want string }{
		{"source", "tar://", "tar:// URI requires a path"},
		{"sink", "tar://", "tar:// URI requires a path"},
		{"source", "foo.tar", "Missing scheme in URI"},
		{"source", "tarr://x", "Unknown input scheme: tarr (did you mean tar://?)"},
		{"sink", "tarr://x", "Unknown output scheme: tarr"},
		{"sink", "tar://x?format=podman", `format is "podman"; it takes auto, docker or oci`},
		{"sink", "tar://x?compress=lz4", `compress is "lz4"; it takes gzip, zstd or none`},
		{"sink", "tar://x?formt=oci", `did you mean "format"?`},
		{"sink", "tar://x?image=a", "has no meaning for a destination"},
		{"source", "tar://x?format=oci", "has no meaning for a source"},
	} {
		err := open[c.end](c.uri)
		var usage *pipeline.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: got %v, want %q", c.end, c.uri, err, c.want)
		}
	}
}

func TestDashIsStandardInputAndOutput(t *testing.T) {
	t.Parallel()
	i := newImage(t, "dash", 2)
	var out bytes.Buffer
	cfg := tarball.Config{TempDir: t.TempDir(), Stdin: bytes.NewReader(i.dockerSave(t, "app:1")), Stdout: &out}
	if _, err := pipeline.Run(t.Context(), source(t, "tar://-", cfg), nil, sink(t, "tar://-?format=docker", cfg), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	expect(t, out.Bytes(), i)
}
