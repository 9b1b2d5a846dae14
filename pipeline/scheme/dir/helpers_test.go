package dir_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/dir"
)

// sink opens dir://uri; its warnings are the test's log.
func sink(t testing.TB, uri string) pipeline.Sink {
	t.Helper()
	return sinkWith(t, uri, nil)
}

func sinkWith(t testing.TB, uri string, events pipeline.Events) pipeline.Sink {
	t.Helper()
	s, err := pipeline.Schemes{dir.Scheme(dir.Config{Events: events})}.Sink("dir://" + uri)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// write runs an image of the given layers into a directory.
func write(t testing.TB, uri, name string, layers ...[]byte) {
	t.Helper()
	if err := tryWrite(t, uri, name, layers...); err != nil {
		t.Fatal(err)
	}
}

func tryWrite(t testing.TB, uri, name string, layers ...[]byte) error {
	t.Helper()
	_, err := pipeline.Run(t.Context(), imageOf(t, name, layers...), nil, sink(t, uri), pipeline.Options{})
	return err
}

func imageOf(t testing.TB, name string, layers ...[]byte) *pipelinetest.Source {
	t.Helper()
	s := pipelinetest.NewStore()
	src := s.Source(s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layers}))
	if name != "" {
		src.Roots[0].Names = []string{name}
	}
	return src
}

// layer is a plain tar with one file.
func layer(t testing.TB, name, body string) []byte {
	t.Helper()
	return pipelinetest.Tar(t, pipelinetest.File{Name: name, Body: body})
}

// read lists all images of a directory: name ▸ diff IDs, every layer verified.
func read(t testing.TB, uri string) map[string][]digest.Digest {
	t.Helper()
	out, err := tryRead(t, uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryRead(t testing.TB, uri string, events pipeline.Events) (map[string][]digest.Digest, error) {
	t.Helper()
	src, err := pipeline.Schemes{dir.Scheme(dir.Config{})}.Source("dir://" + uri)
	if err != nil {
		return nil, err
	}
	q := pipeline.Query{Events: events}
	if err := pipeline.Verify(t.Context(), src, pipeline.Report{}, pipeline.Options{Query: q}); err != nil {
		return nil, err
	}
	g, err := src.Open(t.Context(), pipeline.Query{})
	if err != nil {
		return nil, err
	}
	defer g.Close()
	out := map[string][]digest.Digest{}
	for m, err := range g.Manifests(t.Context()) {
		if err != nil {
			return nil, err
		}
		var config ocispec.Image
		if err := json.Unmarshal(m.Config, &config); err != nil {
			return nil, err
		}
		for _, n := range m.Names {
			out[n] = config.RootFS.DiffIDs
		}
		if len(m.Names) == 0 {
			out["unnamed "+m.Desc.Digest.String()] = config.RootFS.DiffIDs
		}
	}
	return out, nil
}

// names are the names of what read found.
func names(images map[string][]digest.Digest) (out []string) {
	for n := range images {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t testing.TB, path, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func contextOf() context.Context { return context.Background() }

func wrongURI(t testing.TB, uri string) error {
	t.Helper()
	s, err := pipeline.Schemes{dir.Scheme(dir.Config{})}.Sink("dir://" + uri)
	if err != nil {
		return err
	}
	_, err = pipeline.Run(t.Context(), imageOf(t, "app:1", layer(t, "f", "1")), nil, s, pipeline.Options{})
	return err
}
