package filter_test

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

func symlink(name, target string) member {
	return member{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, Uid: 7, Uname: "u", ModTime: then}}
}

func TestExcludedReplacementOfADirectoryBecomesItsWhiteout(t *testing.T) {
	t.Parallel()
	base := [][]byte{tarOf(t, file("run/x", "x"), file("d/e/x", "x")), tarOf(t, file("z", ""))}
	for name, c := range map[string]struct {
		below   [][]byte
		layer   []member
		pattern string
		want    []string
	}{
		"symbolic link":          {base, []member{symlink("run", "var/run"), file("y", "y")}, "run", []string{".wh.run=", "y=y"}},
		"nothing else":           {base, []member{symlink("run", "var/run")}, "run", []string{".wh.run="}},
		"file":                   {base, []member{file("./run", "content")}, "run", []string{".wh.run="}},
		"hard link":              {base, []member{file("a", "a"), link("run", "a")}, "run", []string{"a=a", ".wh.run="}},
		"deep":                   {base, []member{file("/d//e", "f")}, "d/e", []string{"d/.wh.e="}},
		"other spelling":         {base, []member{file("q/../run", "f")}, "q/*", []string{".wh.run="}},
		"only some below":        {append(base[:1:1], tarOf(t, file("run/y", ""))), []member{file("run", "f")}, "run,run/x", []string{".wh.run="}},
		"all below goes":         {base, []member{file("run", "f")}, "run,run/*", nil},
		"all below happens to":   {base, []member{file("run", "f")}, "run,*/x", nil},
		"replaces a file":        {base, []member{file("z", "f")}, "z", nil},
		"replaces an empty one":  {[][]byte{tarOf(t, dir("run"))}, []member{file("run", "f")}, "run", nil},
		"replaces nothing":       {base, []member{file("n", "f")}, "n", nil},
		"lowest layer":           {nil, []member{file("run", "f"), file("run/x", "f")}, "run", []string{"run/x=f"}},
		"directory":              {base, []member{dir("run")}, "run", nil},
		"whiteout is there":      {base, []member{file(".wh.run", ""), file("run", "f")}, "run", []string{".wh.run="}},
		"whiteout comes after":   {base, []member{file("run", "f"), file("./.wh.run", "")}, "run", []string{".wh.run="}},
		"two replacements":       {base, []member{file("run", "f"), symlink("./run", "a")}, "run", []string{".wh.run="}},
		"target is still linked": {base, []member{file("run", "f"), link("b", "run")}, "run", []string{".wh.run=", "b=f"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantList(t, apply(t, c.below, tarOf(t, c.layer...), "exclude:pattern="+c.pattern).tar, c.want...)
		})
	}
}

func TestWhiteoutInPlaceOfAnEntryHasItsTimeAndNothingElse(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("d/", 140) + "run"
	for name, spelled := range map[string]string{"run": ".wh.run", long: strings.TrimSuffix(long, "run") + ".wh.run"} {
		below := [][]byte{tarOf(t, file(name+"/x", "x"))}
		layer := tarOf(t, symlink(name, "a"))
		for seconds, specs := range map[int64][]string{
			then.Unix(): {"exclude:pattern=" + name},
			7:           {"normalize-timestamps:ts=7", "exclude:pattern=" + name},
			8:           {"exclude:pattern=" + name, "normalize-timestamps:ts=8"},
		} {
			h := headers(t, apply(t, below, layer, specs...).tar)
			if len(h) != 1 {
				t.Fatalf("headers are %+v", h)
			}
			got := *h[0]
			got.PAXRecords, got.Format = nil, tar.FormatUnknown
			want := tar.Header{Typeflag: tar.TypeReg, Name: spelled, ModTime: time.Unix(seconds, 0)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		}
	}
}

func TestSecondExcludeKeepsTheWhiteoutOfTheFirst(t *testing.T) {
	t.Parallel()
	below := [][]byte{tarOf(t, file("run/x", "x"))}
	layer := tarOf(t, symlink("run", "a"), file("y", ""))
	wantList(t, apply(t, below, layer, "exclude:pattern=run", "exclude:pattern=run,y").tar, ".wh.run=")
	wantList(t, apply(t, below, layer, "exclude:pattern=y", "exclude:pattern=run").tar, ".wh.run=")
}

func TestTableOfContentsGoesWhereAWhiteoutTakesAPlace(t *testing.T) {
	t.Parallel()
	below := [][]byte{tarOf(t, file("run/x", "x"))}
	wantList(t, apply(t, below, tarOf(t, symlink("run", "a"), file(toc, "{}")), "exclude:pattern=run").tar, ".wh.run=")
}

func TestExcludedEntryLeavesAWhiteoutWhereTheLayersBelowCannotBeSeen(t *testing.T) {
	t.Parallel()
	top := tarOf(t, file("x", ""), file("x.d/y", ""), dir("d"), link("b", "nowhere"), file("y", ""))
	unknown := layerInfo(nil, top)
	unknown.Role = pipeline.Unknown
	foreign := layerInfo(nil, top)
	foreign.Parents = []pipeline.Layer{{Foreign: pipeline.ForeignKeep}}
	for name, l := range map[string]pipeline.LayerInfo{"parents unknown": unknown, "foreign parent": foreign} {
		f := newFilter(t, filter.Defaults{TempDir: t.TempDir()}, "exclude:pattern=x,x.d/**,d,nowhere").(pipeline.LayerFilter)
		var out bytes.Buffer
		if err := tarstream.Read(bytes.NewReader(top), 0, chain(t, l, tarstream.NewWriter(&out), []pipeline.LayerFilter{f})); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{".wh.x=", ".wh.b=", "y="}, list(t, out.Bytes())); diff != "" {
			t.Errorf("%s: entries (-want +got):\n%s", name, diff)
		}
	}
}

// A directory that is there only because of what it holds takes no part: see
// the comment of exclude.
func TestDirectoryWithoutAnEntryHidesNothingOnceItIsEmpty(t *testing.T) {
	t.Parallel()
	below := [][]byte{tarOf(t, file("d/e", "file"))}
	wantList(t, apply(t, below, tarOf(t, file("d/e/secret", "x")), "exclude:pattern=**/secret").tar)
	wantList(t, apply(t, below, tarOf(t, dir("d/e"), file("d/e/secret", "x")), "exclude:pattern=**/secret").tar, "d/e")
}
