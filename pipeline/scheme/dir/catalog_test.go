package dir_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func TestDamagedCatalogIsSetAsideAndRebuilt(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]string{"cut": `{"app": {"1": "man`, "empty": "", "null": "null", "list": "[]"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			write(t, path+"?unique_names=true", "app:1", layer(t, "f", "1"))
			write(t, path, "r.example/team/app:2", layer(t, "f", "2"))
			writeFile(t, path+"/catalog.json", damage)
			var w pipelinetest.Warnings
			got, err := tryRead(t, path, w.Events)
			if err != nil || len(got) != 2 || !w.Has("catalog.json: it is damaged") {
				t.Fatalf("a reader sees %v, is told %v, %v", names(got), w.List, err)
			}
			w = pipelinetest.Warnings{}
			if _, err := pipeline.Run(t.Context(), imageOf(t, "app:3", layer(t, "f", "3")), nil, sinkWith(t, path, w.Events), pipeline.Options{}); err != nil {
				t.Fatal(err)
			}
			if !w.Has("it is now catalog.json.damaged-1") {
				t.Errorf("a writer is told %v", w.List)
			}
			if kept, err := os.ReadFile(path + "/catalog.json.damaged-1"); err != nil || string(kept) != damage {
				t.Errorf("set aside was %q, %v", kept, err)
			}
			var c map[string]map[string]string
			readJSON(t, path+"/catalog.json", &c)
			want := map[string]map[string]string{"app": {"1": "manifest-library_app-1.json", "3": "manifest.json"}, "r.example/team/app": {"2": "manifest.json"}}
			if d := cmp.Diff(want, c); d != "" {
				t.Error(d)
			}
			read(t, path)
		})
	}
}

func TestDamagedListsAreSetAside(t *testing.T) {
	t.Parallel()
	for file, query := range map[string]string{"manifest.json": "", "index.json": "?format=oci"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			write(t, path+query, "app:1", layer(t, "f", "1"))
			writeFile(t, filepath.Join(path, file), `[{"Config":`)
			if _, err := tryRead(t, path, nil); err == nil {
				t.Error("a damaged list is read as if it were none")
			}
			var w pipelinetest.Warnings
			if _, err := pipeline.Run(t.Context(), imageOf(t, "app:2", layer(t, "f", "2")), nil, sinkWith(t, path+query, w.Events), pipeline.Options{}); err != nil {
				t.Fatal(err)
			}
			if !w.Has(file+".damaged-1") || !exists(filepath.Join(path, file+".damaged-1")) {
				t.Errorf("a writer is told %v", w.List)
			}
			if got := names(read(t, path)); len(got) != 1 {
				t.Errorf("there are %v", got)
			}
		})
	}
}

// A run that is killed between a manifest and the catalog leaves an image that
// only its manifest tells of.
func TestImageThatTheCatalogDoesNotKnowIsRead(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	write(t, path+"?unique_names=true", "app:1", layer(t, "f", "1"))
	before, err := os.ReadFile(path + "/catalog.json")
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+"?unique_names=true", "app:2", layer(t, "f", "2"))
	writeFile(t, path+"/catalog.json", string(before))
	if got := read(t, path); len(got) != 2 {
		t.Errorf("there are %v", names(got))
	}
}
