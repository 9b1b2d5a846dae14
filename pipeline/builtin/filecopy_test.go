package builtin_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// noise is n bytes that do not compress, always the same.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // it never fails
	return string(b)
}

// From file to file layers go by the kernel, in steps; what comes out is the same
// as by any other way, and what is damaged is refused.
func TestFilesGoFromPlaceToPlace(t *testing.T) {
	t.Parallel()
	store := pipelinetest.NewStore()
	image := store.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{
		pipelinetest.Tar(t, pipelinetest.File{Name: "large", Body: noise(9 << 20)}),
		pipelinetest.Tar(t, pipelinetest.File{Name: "middle", Body: noise(1 << 20)}),
		pipelinetest.Tar(t, pipelinetest.File{Name: "small", Body: "small"}),
	}})
	at := t.TempDir()
	place := func(uri string) string { return uri[:len("tar://")] + filepath.Join(at, uri[len("tar://"):]) }
	first := place("tar://first.tar")
	moveWith(t, store.Source(image, "registry.example/app:1"), sinkOf(t, first), false)
	move(t, first, place("tar://second.tar"))
	move(t, first, place("dir://oci?format=oci"))
	move(t, place("dir://oci"), place("dir://again?format=oci"))
	move(t, place("dir://again"), place("tar://third.tar"))
	runURIs(t, first, place("tar://plain.tar?format=docker"), whole) // decoded on the way
	move(t, place("tar://plain.tar"), place("dir://plain"))
	runURIs(t, place("dir://plain"), place("tar://fourth.tar?format=docker"), whole)
	want, err := os.ReadFile(filepath.Join(at, "first.tar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"second.tar", "third.tar"} {
		if got, err := os.ReadFile(filepath.Join(at, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes, and other ones than the first with %d: %v", name, len(got), len(want), err)
		}
	}
	plain, _ := contents(t, place("tar://plain.tar"))
	if again, _ := contents(t, place("tar://fourth.tar")); !slices.Equal(again, plain) {
		t.Errorf("diff IDs %v came out as %v", plain, again)
	}

	want[5<<20] ^= 1 // in the large layer
	if err := os.WriteFile(filepath.Join(at, "damaged.tar"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := builtin.Schemes(builtin.Config{}).Source(place("tar://damaged.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pipeline.Run(t.Context(), src, nil, sinkOf(t, place("tar://out.tar")), whole); !errors.Is(err, pipeline.ErrDigest) {
		t.Errorf("a damaged layer: %v", err)
	}
	if _, err := os.Stat(filepath.Join(at, "out.tar")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a damaged layer was published: %v", err)
	}
}
