package bundle_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/bundle"
)

func open(t testing.TB, uri string, cfg bundle.Config) pipeline.Sink {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("bundles are made on Linux only")
	}
	s, err := pipeline.Schemes{bundle.Scheme(cfg)}.Sink("oci://" + uri)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// imageOf is a source of one image.
func imageOf(t testing.TB, i pipelinetest.Image) *pipelinetest.Source {
	t.Helper()
	if i.Compression == "" {
		i.Compression = pipeline.Gzip
	}
	s := pipelinetest.NewStore()
	return s.Source(s.Image(t, i), "registry.example/team/app:1")
}

// layers is an image that has them and no more.
func layers(t testing.TB, ls ...[]byte) *pipelinetest.Source {
	t.Helper()
	return imageOf(t, pipelinetest.Image{Layers: ls})
}

// file is a layer of one file.
func file(t testing.TB, name, body string) []byte {
	t.Helper()
	return pipelinetest.Tar(t, pipelinetest.File{Name: name, Body: body})
}

// try runs an image into a bundle.
func try(t testing.TB, src pipeline.Source, uri string, filters ...pipeline.Filter) error {
	t.Helper()
	_, err := pipeline.Run(t.Context(), src, filters, open(t, uri, bundle.Config{}), pipeline.Options{})
	return err
}

func write(t testing.TB, src pipeline.Source, uri string, filters ...pipeline.Filter) {
	t.Helper()
	if err := try(t, src, uri, filters...); err != nil {
		t.Fatal(err)
	}
}

// made runs an image with that config and those layers into a new bundle, and
// returns its config.json and what the user was told.
func made(t testing.TB, query string, c ocispec.ImageConfig, ls ...[]byte) (s specs.Spec, w *pipelinetest.Warnings, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bundle")
	w = &pipelinetest.Warnings{}
	dst := open(t, path+query, bundle.Config{Events: w.Events})
	if _, err = pipeline.Run(t.Context(), imageOf(t, pipelinetest.Image{Config: c, Layers: ls}), nil, dst, pipeline.Options{}); err == nil {
		s = spec(t, path)
	}
	return s, w, err
}

func spec(t testing.TB, path string) (s specs.Spec) {
	t.Helper()
	decode(t, []byte(content(t, path+"/config.json")), &s)
	return s
}

func decode(t testing.TB, raw []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// snapshot is all that can be seen of a tree, as text.
func snapshot(t testing.TB, path string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		body := ""
		if info.Mode().IsRegular() {
			body = content(t, p)
		}
		fmt.Fprintf(&b, "%s %v %q\n", p, info.Mode(), body)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// names are those in a directory.
func names(t testing.TB, path string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func writeFile(t testing.TB, path, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
}
