package dir_test

import (
	"archive/tar"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/scheme/tarball"
)

type saved struct {
	Config    string
	ImageName string
	Layers    []string
	RepoTags  []string
}

func TestPlainLayoutIsThatOfThePythonTool(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new/images")
	one, two := layer(t, "etc/one", "1"), layer(t, "etc/two", "2")
	write(t, path, "registry.example:5000/team/app:1", one, two)
	var m []saved
	readJSON(t, path+"/manifest.json", &m)
	want := []saved{{
		Config:   m[0].Config,
		Layers:   []string{digest.FromBytes(one).Encoded() + "/layer.tar", digest.FromBytes(two).Encoded() + "/layer.tar"},
		RepoTags: []string{"registry.example:5000/team/app:1"},
	}}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	for i, l := range [][]byte{one, two} {
		got, err := os.ReadFile(filepath.Join(path, m[0].Layers[i]))
		if err != nil || !slices.Equal(got, l) {
			t.Errorf("layer %d: %d bytes, %v", i, len(got), err)
		}
	}
	config, err := os.ReadFile(filepath.Join(path, m[0].Config))
	if err != nil || digest.FromBytes(config).Encoded()+".json" != m[0].Config {
		t.Errorf("the config %s has another digest than its name, %v", m[0].Config, err)
	}
	var c map[string]map[string]string
	readJSON(t, path+"/catalog.json", &c)
	if d := cmp.Diff(map[string]map[string]string{"registry.example:5000/team/app": {"1": "manifest.json"}}, c); d != "" {
		t.Error(d)
	}
	entries, err := filepath.Glob(path + "/.occystrap-*")
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestUniqueNamesFollowTheRuleAndNeverCollide(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	images := []string{"docker.io/library/busybox:1", "quay.io/library/busybox:1", "r.example/a_b/c:2", "r.example/a/b_c:2"}
	for _, n := range images {
		write(t, path+"?unique_names=true", n, layer(t, "name", n))
	}
	for _, f := range []string{"manifest-library_busybox-1.json", "manifest-a_b_c-2.json"} {
		var m []saved
		readJSON(t, filepath.Join(path, f), &m)
		if len(m) != 1 || m[0].ImageName == "" {
			t.Errorf("%s: %v", f, m)
		}
	}
	got := read(t, path)
	slices.Sort(images)
	if d := cmp.Diff(images, names(got)); d != "" {
		t.Error(d)
	}
	for _, n := range images {
		if want := digest.FromBytes(layer(t, "name", n)); got[n][0] != want {
			t.Errorf("%s has the layer of another image", n)
		}
	}
	files, err := filepath.Glob(path + "/manifest-*.json")
	if err != nil || len(files) != 4 {
		t.Errorf("%v, %v", files, err)
	}
}

// Without unique_names the Python tool overwrote the image before, and its
// catalog listed it still.
func TestSecondImageLeavesTheFirst(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?unique_names=true", "?format=oci"} {
		t.Run("layout"+query, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			base := layer(t, "base", "shared")
			write(t, path+query, "app:1", base, layer(t, "x", "1"))
			write(t, path+query, "app:2", base, layer(t, "x", "2"))
			write(t, path+query, "app:1", base, layer(t, "x", "3")) // the name moves
			write(t, path+query, "", base)
			write(t, path+query, "", base)
			got := read(t, path)
			if len(got) != 3 || len(got["docker.io/library/app:1"]) != 2 || len(got["docker.io/library/app:2"]) != 2 {
				t.Fatalf("there are %v", names(got))
			}
			if got["docker.io/library/app:1"][1] != digest.FromBytes(layer(t, "x", "3")) {
				t.Error("the name stayed with the old image")
			}
			if query == "" {
				var m []saved
				readJSON(t, path+"/manifest.json", &m)
				if len(m[0].RepoTags) != 0 || m[1].RepoTags[0] != "app:1" {
					t.Errorf("the newest image is not the first: %v", m)
				}
			}
		})
	}
}

func TestSharedLayerIsNeitherReadNorWrittenAgain(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?format=oci"} {
		t.Run("layout"+query, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			base := layer(t, "base", strings.Repeat("shared ", 1000))
			write(t, path+query, "app:1", base)
			src := imageOf(t, "app:2", base, layer(t, "x", "2"))
			report, err := pipeline.Run(t.Context(), src, nil, sink(t, path+query), pipeline.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if report.Layers[0].How != pipeline.HowHeld || src.Store.Opened(report.Layers[0].Source.Digest) != 0 {
				t.Errorf("the shared layer was %s", report.Layers[0].How)
			}
			if got := read(t, path); len(got) != 2 {
				t.Errorf("there are %v", names(got))
			}
		})
	}
}

// The Python tool left truncated layers behind, and later took them for whole.
func TestDamagedLayerIsWrittenAnew(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	l := layer(t, "f", "body")
	name := filepath.Join(path, digest.FromBytes(l).Encoded(), "layer.tar")
	writeFile(t, name, string(l[:100]))
	var w pipelinetest.Warnings
	if _, err := pipeline.Run(t.Context(), imageOf(t, "app:1", l), nil, sinkWith(t, path, w.Events), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	if !w.Has("layer.tar is damaged") {
		t.Errorf("nobody was told: %v", w.List)
	}
	read(t, path)
}

func TestLayoutsAreNotMixed(t *testing.T) {
	t.Parallel()
	path, oci := t.TempDir(), t.TempDir()
	write(t, path, "app:1", layer(t, "f", "1"))
	write(t, oci+"?format=oci", "app:1", layer(t, "f", "1"))
	if err := tryWrite(t, path+"?format=oci", "app:2", layer(t, "f", "2")); err == nil || !strings.Contains(err.Error(), "leave format=oci out") {
		t.Error(err)
	}
	if err := tryWrite(t, oci, "app:2", layer(t, "f", "2")); err == nil || !strings.Contains(err.Error(), "write dir://DIR?format=oci") {
		t.Error(err)
	}
}

func TestWrongURIsAreExplained(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "x")
	for uri, want := range map[string]string{
		"":                             "requires a path",
		"x?format=tar":                 "plain or oci",
		"x?unique_names=maybe":         "true or false",
		"x?expand=on":                  "true or false",
		"x?format=oci&expand=true":     "plain layout",
		"x?unique=1":                   `no option "unique"`,
		file + "?format=oci":           "name a directory",
		t.TempDir() + "/a?image=app:1": "no meaning",
	} {
		if err := wrongURI(t, uri); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if _, err := tryRead(t, filepath.Join(t.TempDir(), "none"), nil); err == nil || !strings.Contains(err.Error(), "no such directory") {
		t.Error(err)
	}
	if _, err := tryRead(t, file, nil); err == nil || !strings.Contains(err.Error(), "read it with tar://") {
		t.Error(err)
	}
	if _, err := tryRead(t, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "it holds no images") {
		t.Error(err)
	}
}

// What is in the directory can be packed and loaded as docker save's.
func TestPackedDirectoryIsAnArchive(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	one, two := layer(t, "f", "1"), layer(t, "f", "2")
	write(t, path, "app:1", one, two)
	write(t, path, "app:2", one)
	packed := filepath.Join(t.TempDir(), "image.tar")
	if err := packDirectory(packed, path); err != nil {
		t.Fatal(err)
	}
	src, err := pipeline.Schemes{tarball.Scheme(tarball.Config{})}.Source("tar://" + packed)
	if err != nil {
		t.Fatal(err)
	}
	again := t.TempDir()
	if _, err := pipeline.Run(t.Context(), src, nil, sink(t, again), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(read(t, path), read(t, again)); d != "" {
		t.Error(d)
	}
}

func packDirectory(to, dir string) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return w.Close()
}
