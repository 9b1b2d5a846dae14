package dir_test

import (
	"archive/tar"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// tree lists the files below a path.
func tree(t testing.TB, path string) (out []string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("images are unpacked on Linux only")
	}
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(path, p)
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func TestExpandUnpacksTheMergedFileSystem(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{"?expand=true": "manifest", "?expand=true&unique_names=true": "manifest-team_app-1"} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			lower := pipelinetest.Tar(t, pipelinetest.File{Name: "etc/a", Body: "1"}, pipelinetest.File{Name: "etc/b", Body: "1"})
			upper := pipelinetest.Tar(t, pipelinetest.File{Name: "etc/.wh.a"}, pipelinetest.File{Name: "l", Link: "etc/b", Type: tar.TypeSymlink})
			write(t, path+query, "r.example/team/app:1", lower, upper)
			if got := tree(t, filepath.Join(path, want)); !slices.Equal(got, []string{"etc/b", "l"}) {
				t.Errorf("there are %v", got)
			}
			// Again, of other layers: of the tree before nothing is left.
			write(t, path+query, "r.example/team/app:1", layer(t, "new", "2"))
			if got := tree(t, filepath.Join(path, want)); !slices.Equal(got, []string{"new"}) {
				t.Errorf("there are %v", got)
			}
			read(t, path)
		})
	}
}

// The Python tool left out what expand promises as soon as there was a filter,
// and took layers that it already had without the filter.
func TestExpandAndFilters(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	l := pipelinetest.Tar(t, pipelinetest.File{Name: "keep", Body: "1"}, pipelinetest.File{Name: "drop.pyc", Body: "1"})
	write(t, path+"?expand=true", "app:1", l)
	for spec, want := range map[string][]string{
		"exclude:pattern=*.pyc": {"keep"}, "normalize-timestamps:ts=0": {"drop.pyc", "keep"},
	} {
		f, err := filter.Kinds(filter.Defaults{}).New(spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pipeline.Run(t.Context(), imageOf(t, "app:1", l), []pipeline.Filter{f}, sink(t, path+"?expand=true"), pipeline.Options{}); err != nil {
			t.Fatal(err)
		}
		if got := tree(t, path+"/manifest"); !slices.Equal(got, want) {
			t.Errorf("%s: there are %v", spec, got)
		}
		info, err := os.Stat(path + "/manifest/keep")
		if err != nil || strings.HasPrefix(spec, "normalize") != (info.ModTime().Unix() == 0) {
			t.Errorf("%s: time %v, %v", spec, info.ModTime(), err)
		}
		read(t, path)
	}
}

func TestHostileLayerLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	write(t, path+"?expand=true", "app:1", layer(t, "f", "1"))
	before := snapshot(t, path)
	bad := pipelinetest.Tar(t, pipelinetest.File{Name: "x", Link: "../../../manifest.json", Type: tar.TypeLink})
	err := tryWrite(t, path+"?expand=true", "app:2", bad)
	if err == nil || !strings.Contains(err.Error(), "unpack x: its target") && !strings.Contains(err.Error(), "link to ../../../manifest.json") {
		t.Errorf("got %v", err)
	}
	if after := snapshot(t, path); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestOnlyOneOfSeveralImagesIsUnpackedUnderOneName(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	s := pipelinetest.NewStore()
	src := s.Source(s.Image(t, pipelinetest.Image{Layers: [][]byte{layer(t, "one", "1")}}), "app:1")
	src.Roots = append(src.Roots, pipeline.Root{Desc: s.Image(t, pipelinetest.Image{Layers: [][]byte{layer(t, "two", "2")}}), Names: []string{"app:2"}})
	var w pipelinetest.Warnings
	o := pipeline.Options{Query: pipeline.Query{Events: w.Events}}
	if _, err := pipeline.Run(t.Context(), src, nil, sink(t, path+"?expand=true"), o); err != nil {
		t.Fatal(err)
	}
	if !w.Has("left out are app:2") {
		t.Errorf("it says %v", w.List)
	}
	if got := tree(t, path+"/manifest"); !slices.Equal(got, []string{"one"}) {
		t.Errorf("there are %v", got)
	}
}

func TestExpandLayersShowsTheirWhiteouts(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	lower := pipelinetest.Tar(t, pipelinetest.File{Name: "etc/a", Body: "1"}, pipelinetest.File{Name: "etc/b", Body: "1"})
	upper := pipelinetest.Tar(t, pipelinetest.File{Name: "etc/.wh.a"}, pipelinetest.File{Name: "c", Body: "2"})
	for range 2 {
		write(t, path+"?expand=layers", "app:1", lower, upper)
		for where, want := range map[string][]string{
			"manifest": {"c", "etc/b"},
			digest.FromBytes(lower).Encoded() + "/layer": {"etc/a", "etc/b"},
			digest.FromBytes(upper).Encoded() + "/layer": {"c", "etc/.wh.a"},
		} {
			if got := tree(t, filepath.Join(path, where)); !slices.Equal(got, want) {
				t.Errorf("%s: there are %v", where, got)
			}
		}
	}
	read(t, path)
}

// The Python tool logged the bytes that flattening would save; so do we, for
// whoever asks for details.
func TestExpandTellsWhatLaterLayersHide(t *testing.T) {
	t.Parallel()
	lower := pipelinetest.Tar(t, pipelinetest.File{Name: "etc/a", Body: "12345"}, pipelinetest.File{Name: "d/b", Body: "123"}, pipelinetest.File{Name: "kept", Body: "1"})
	upper := pipelinetest.Tar(t, pipelinetest.File{Name: "etc/a", Body: "1"}, pipelinetest.File{Name: ".wh.d"})
	for _, c := range []struct {
		layers [][]byte
		want   string
	}{
		{[][]byte{lower, upper}, "later layers replace or delete 2 files with 8 bytes; flattening the image would save them"},
		{[][]byte{lower}, ""},
	} {
		var told []string
		events := func(e pipeline.Event) {
			if e.Kind == pipeline.EventDetail {
				told = append(told, e.Message)
			}
		}
		path := t.TempDir()
		store := pipelinetest.NewStore()
		src := store.Source(store.Image(t, pipelinetest.Image{Layers: c.layers}), "r.example/a:1")
		if _, err := pipeline.Run(t.Context(), src, nil, sinkWith(t, path+"?expand=true", events), pipeline.Options{}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(told, "\n"); c.want == "" && got != "" || !strings.HasSuffix(got, c.want) {
			t.Errorf("told %q, want %q", got, c.want)
		}
	}
}
