package dir_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// pythonImage writes an image as the Python tool did: the config anew under the
// name of the one before, a layer under whatever name the source had.
func pythonImage(t *testing.T, path, manifest, config, image, tag, named string, diffIDs []digest.Digest, layers ...string) {
	t.Helper()
	c := map[string]any{"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}}
	raw, err := json.MarshalIndent(c, "", "    ")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(path, config), string(raw))
	entry := map[string]any{"Config": config, "Layers": layers, "RepoTags": []string{filepath.Base(image) + ":" + tag}}
	if named != "" {
		entry["ImageName"] = named
	}
	if raw, err = json.MarshalIndent([]any{entry}, "", "    "); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(path, manifest), string(raw))
}

func hexOf(s string) string { return digest.FromString(s).Encoded() }

func TestDirectoriesOfThePythonToolAreRead(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	one, two := layer(t, "f", "1"), layer(t, "f", "2")
	writeFile(t, path+"/"+hexOf("compressed 1")+"/layer.tar", string(one))
	writeFile(t, path+"/blobs/sha256/"+hexOf("compressed 2")+"/layer.tar", string(two))
	ids := []digest.Digest{digest.FromBytes(one), digest.FromBytes(two)}
	pythonImage(t, path, "manifest-team_app-1.json", hexOf("config 1")+".json", "team/app", "1", "team/app", ids[:1], hexOf("compressed 1")+"/layer.tar")
	pythonImage(t, path, "manifest-library_busybox-latest.json", "blobs/sha256/"+hexOf("config 2"), "library/busybox", "latest", "library/busybox", ids,
		hexOf("compressed 1")+"/layer.tar", "blobs/sha256/"+hexOf("compressed 2")+"/layer.tar")
	for _, catalog := range []string{`{"library/busybox": {"latest": "manifest-library_busybox-latest.json"}, "team/app": {"1": "manifest-team_app-1.json"}}`, "damaged"} {
		writeFile(t, path+"/catalog.json", catalog)
		got := read(t, path)
		if !slices.Equal(names(got), []string{"docker.io/library/busybox:latest", "docker.io/team/app:1"}) {
			t.Errorf("with the catalog %s there are %v", catalog, names(got))
		}
		if !slices.Equal(got["docker.io/library/busybox:latest"], ids) {
			t.Error("the layers are others")
		}
	}
	if got := read(t, path+"?image=team/app:1"); len(got) != 1 {
		t.Errorf("?image= gives %v", names(got))
	}
	write(t, path+"?unique_names=true", "busybox", layer(t, "f", "3")) // and ours beside, in place of the old
	if got := read(t, path); len(got) != 2 || got["docker.io/library/busybox:latest"][0] != digest.FromBytes(layer(t, "f", "3")) {
		t.Errorf("there are %v", names(got))
	}
}

// Two images without unique_names: manifest.json has the second, the catalog
// both.
func TestStaleNameOfThePythonToolIsNotGiven(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	one := layer(t, "f", "1")
	writeFile(t, path+"/"+hexOf("1")+"/layer.tar", string(one))
	pythonImage(t, path, "manifest.json", hexOf("c")+".json", "library/alpine", "3", "", []digest.Digest{digest.FromBytes(one)}, hexOf("1")+"/layer.tar")
	writeFile(t, path+"/catalog.json", `{"library/alpine": {"3": "manifest.json"}, "library/busybox": {"latest": "manifest.json"}}`)
	var w pipelinetest.Warnings
	got, err := tryRead(t, path, w.Events)
	if err != nil || !slices.Equal(names(got), []string{"docker.io/library/alpine:3"}) || !w.Has("busybox:latest is in manifest.json, which holds another image") {
		t.Errorf("%v, %v, %v", names(got), w.List, err)
	}
}

func TestFilteredLayersOfThePythonToolAreNamedRight(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	after := layer(t, "f", "after the filter")
	was := digest.FromString("before the filter")
	name := digest.FromBytes(after).Encoded() + "/layer.tar"
	writeFile(t, filepath.Join(path, name), string(after))
	pythonImage(t, path, "manifest.json", hexOf("c")+".json", "app", "1", "", []digest.Digest{was}, name)
	got := read(t, path)
	if got["docker.io/library/app:1"][0] != digest.FromBytes(after) {
		t.Error("the diff ID is still that of before the filter")
	}
	writeFile(t, filepath.Join(path, name), string(after[:512])) // cut off, not filtered
	if _, err := tryRead(t, path, nil); err == nil || !strings.Contains(err.Error(), pipeline.ErrDigest.Error()) && !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("a cut layer is taken: %v", err)
	}
}
