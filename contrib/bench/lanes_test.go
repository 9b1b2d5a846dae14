package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A figure of a lane is one only if that lane was taken.
func TestLaneMustHaveBeenTaken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "told.json")
	if err := tookLanes(file, nil); err == nil {
		t.Error("a run that told nothing is believed")
	}
	const told = `{"occystrap.report":{"lanes":[{"side":"source","lane":"content"},{"side":"destination","lane":"load"}]}}`
	if err := os.WriteFile(file, []byte(told), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tookLanes(file, []string{"content", "load"}); err != nil {
		t.Error(err)
	}
	for _, want := range [][]string{nil, {"content"}, {"load", "content"}, {"content", "pull"}} {
		if err := tookLanes(file, want); err == nil {
			t.Errorf("%v were taken", want)
		}
	}
}

// The image without its last layer is an image, with the same layers but that.
func TestMostOfTheImage(t *testing.T) {
	t.Parallel()
	from, err := writeSmall(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	whole, err := readImage(ctx, from)
	if err != nil {
		t.Fatal(err)
	}
	path, err := writeMost(ctx, from, whole, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	archive, err := readArchive(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	most, err := readImage(ctx, archive)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole.Layers[:smallLayers-1], most.Layers); diff != "" {
		t.Errorf("its layers (+) are not those of the image (-):\n%s", diff)
	}
	if _, err := printLayers(ctx, archive, most, change{}); err != nil {
		t.Error(err)
	}
}

// What was measured again takes the place of what was there; the rest stays.
func TestResultsOfCallsAreMerged(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "results.json")
	first, err := report{Results: []result{{Job: "a", Note: "old"}, {Job: "b"}}}.merged(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.writeJSON(file); err != nil {
		t.Fatal(err)
	}
	second, err := report{Results: []result{{Job: "c"}, {Job: "a", Note: "new"}}}.merged(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []result{{Job: "a", Note: "new"}, {Job: "b"}, {Job: "c"}}
	if diff := cmp.Diff(want, second.Results); diff != "" {
		t.Errorf("merged (+) is not (-):\n%s", diff)
	}
}
