package builtin_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
)

// Every archive that another tool has made goes through a registry and comes
// out with the diff IDs that it had; what is in between is verified.
func TestSampleArchivesSurviveARegistry(t *testing.T) {
	t.Parallel()
	samples, err := filepath.Glob("../scheme/tarball/testdata/images/*.tar")
	if err != nil || len(samples) < 8 {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	for _, sample := range samples {
		name := strings.TrimSuffix(filepath.Base(sample), ".tar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, images := contents(t, "tar://"+sample)
			for i, from := range images { // each of several; a name in a registry has one
				if from = "tar://" + sample + "?image=" + from; len(images) == 1 {
					from = "tar://" + sample
				}
				there := fmt.Sprintf("registry://%s/%s:%d?insecure=true", host, strings.ToLower(name), i)
				out := "tar://" + filepath.Join(t.TempDir(), "out.tar")
				move(t, from, there)
				move(t, there, out)
				want, _ := contents(t, from)
				got, _ := contents(t, out)
				if len(want) == 0 || !slices.Equal(want, got) {
					t.Errorf("diff IDs of %s went in as %v and came out as %v", from, want, got)
				}
			}
		})
	}
}

var whole = pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}}

// move runs an image and verifies what arrived.
func move(t *testing.T, from, to string) {
	t.Helper()
	report := runURIs(t, from, to, whole)
	src, err := builtin.Schemes(builtin.Config{}).Source(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := pipeline.Verify(t.Context(), src, report, whole); err != nil {
		t.Error(err)
	}
}

// runURIs runs an image from here to there.
func runURIs(t *testing.T, from, to string, o pipeline.Options) pipeline.Report {
	t.Helper()
	src, err := builtin.Schemes(builtin.Config{}).Source(from)
	if err != nil {
		t.Fatal(err)
	}
	report, err := pipeline.Run(t.Context(), src, nil, sinkOf(t, to), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// contents lists the diff IDs of every image's config, and the names of roots.
func contents(t *testing.T, uri string) (diffIDs []digest.Digest, names []string) {
	t.Helper()
	src, err := builtin.Schemes(builtin.Config{}).Source(uri)
	if err != nil {
		t.Fatal(err)
	}
	g, err := src.Open(t.Context(), whole.Query)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for m, err := range g.Manifests(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Root {
			names = append(names, strings.Join(m.Names, " "))
		}
		var config ocispec.Image
		if m.Config == nil {
			continue
		}
		if err := json.Unmarshal(m.Config, &config); err != nil {
			t.Fatal(err)
		}
		diffIDs = append(diffIDs, config.RootFS.DiffIDs...)
	}
	return diffIDs, names
}
