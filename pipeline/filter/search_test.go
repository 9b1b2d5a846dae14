package filter_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// searched writes down what a search tells: "layer: path" for a match,
// "layer: how layer: path" for one that is hidden.
type searched struct {
	lines   []string
	layers  []filter.SearchedLayer
	summary *filter.SearchSummary
	onLayer func(filter.SearchedLayer) error
}

func (s *searched) Layer(l filter.SearchedLayer) error {
	s.layers = append(s.layers, l)
	for _, m := range l.Matches {
		s.lines = append(s.lines, fmt.Sprintf("%d: %s", l.Index, m.Path))
	}
	for _, h := range l.Hides {
		s.lines = append(s.lines, fmt.Sprintf("%d: %s %d: %s", l.Index, h.How, h.Of.Index, h.Path))
	}
	if s.onLayer != nil {
		return s.onLayer(l)
	}
	return nil
}

func (s *searched) End(sum filter.SearchSummary) error {
	if s.summary != nil {
		return errors.New("the summary is told twice")
	}
	s.summary = &sum
	return nil
}

func (s *searched) want(t *testing.T, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string(nil), lines...), s.lines); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// imageOf is a source of one image, app:1, with these layers.
func imageOf(t testing.TB, layers ...[]byte) *pipelinetest.Source {
	t.Helper()
	s := pipelinetest.NewStore()
	return s.Source(s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: layers}), "docker.io/library/app:1")
}

func newSearch(t testing.TB, o filter.SearchOptions, to filter.SearchResults) []pipeline.Filter {
	t.Helper()
	f, err := filter.NewSearch(o, to)
	if err != nil {
		t.Fatal(err)
	}
	return []pipeline.Filter{f}
}

// look searches the layers of an image.
func look(t testing.TB, o filter.SearchOptions, layers ...[]byte) *searched {
	t.Helper()
	found := &searched{}
	if err := pipeline.Look(t.Context(), imageOf(t, layers...), newSearch(t, o, found), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	return found
}

func special(kind byte, name, target string) member {
	return member{tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o644, ModTime: then}, ""}
}

func TestSearchMatchesWholeNamesAndTheirLastPart(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, dir("etc"), dir("etc/ssl"), file("etc/ssl/ca.pem", "x"), file("./usr/Ca.PEM", "x"), file("ca.pem", "x"), file("opt/etc/ssl", "x"))
	for pattern, want := range map[string][]string{
		"ca.pem":          {"etc/ssl/ca.pem", "ca.pem"}, // the last part
		"/ca.pem":         {"ca.pem"},                   // from the root
		"etc/ssl/ca.pem":  {"etc/ssl/ca.pem"},
		"/etc/ssl/ca.pem": {"etc/ssl/ca.pem"},
		"*.pem":           {"etc/ssl/ca.pem", "ca.pem"}, // case counts
		"etc/*":           {"etc/ssl", "etc/ssl/ca.pem"},
		"etc*pem":         {"etc/ssl/ca.pem"}, // * crosses a slash
		"./usr/*":         {"./usr/Ca.PEM"},
		"[Cc]a.???":       {"etc/ssl/ca.pem", "./usr/Ca.PEM", "ca.pem"},
		"ssl":             {"etc/ssl", "opt/etc/ssl"},
		"etc":             {"etc"},
		"ca":              nil,
	} {
		var lines []string
		for _, w := range want {
			lines = append(lines, "0: "+w)
		}
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			look(t, filter.SearchOptions{Pattern: pattern}, layer).want(t, lines...)
		})
	}
}

func TestSearchRegexIsUnanchoredOnTheWholeName(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, dir("etc"), file("etc/a1", "x"), file("etc/a123", "x"), file("./var/etc", "x"))
	for pattern, want := range map[string][]string{
		`a\d{1,2}$`: {"0: etc/a1"},
		`^etc`:      {"0: etc", "0: etc/a1", "0: etc/a123"},
		`c/a`:       {"0: etc/a1", "0: etc/a123"},
		`^var/`:     {"0: ./var/etc"}, // however it is spelt
		`^\./var`:   {"0: ./var/etc"},
		`(?i)ETC$`:  {"0: etc", "0: ./var/etc"},
	} {
		look(t, filter.SearchOptions{Pattern: pattern, Regex: true}, layer).want(t, want...)
	}
}

func TestSearchTellsTypesAndTargets(t *testing.T) {
	t.Parallel()
	found := look(t, filter.SearchOptions{Pattern: "*"}, tarOf(t,
		dir("d"), file("d/f", "12345"), special(tar.TypeSymlink, "d/s", "../x"), link("d/h", "d/f"),
		special(tar.TypeFifo, "d/p", ""), special(tar.TypeChar, "d/c", ""), special(tar.TypeBlock, "d/b", ""), file("d/.wh.x", "")))
	var got []string
	for _, m := range found.layers[0].Matches {
		got = append(got, fmt.Sprintf("%s %s %d %s %t", m.Path, m.Type, m.Size, m.Target, m.Whiteout))
	}
	if diff := cmp.Diff([]string{
		"d directory 0  false", "d/f file 5  false", "d/s symlink 0 ../x false", "d/h hardlink 0 d/f false", "d/p fifo 0  false",
		"d/c character device 0  false", "d/b block device 0  false", "d/.wh.x file 0  true",
	}, got); diff != "" {
		t.Errorf("matches (-want +got):\n%s", diff)
	}
}

// What a later layer does to a match is told with that layer, and only what it
// does: a sibling whose name begins alike, or what the same layer adds, stays.
func TestSearchTellsWhatALaterLayerHides(t *testing.T) {
	t.Parallel()
	base := tarOf(t, dir("a"), file("a/x", "1"), file("ab/x", "1"), file("f/x", "1"))
	for name, c := range map[string]struct {
		later []member
		want  []string
	}{
		"nothing":                {[]member{file("b", "")}, nil},
		"whiteout":               {[]member{file("a/.wh.x", "")}, []string{"1: deleted 0: a/x"}},
		"whiteout of the parent": {[]member{file(".wh.a", "")}, []string{"1: deleted 0: a/x"}},
		"opaque directory":       {[]member{dir("a"), file("a/.wh..wh..opq", "")}, []string{"1: deleted 0: a/x"}},
		"opaque root":            {[]member{file(".wh..wh..opq", "")}, []string{"1: deleted 0: a/x", "1: deleted 0: ab/x", "1: deleted 0: f/x"}},
		"same file":              {[]member{file("./a/x", "2")}, []string{"1: ./a/x", "1: replaced 0: a/x"}},
		"deleted and made again": {[]member{file("a/.wh.x", ""), file("a/x", "2")}, []string{"1: a/x", "1: replaced 0: a/x"}},
		"file for a directory":   {[]member{file("a", "2")}, []string{"1: replaced 0: a/x"}},
		"link for a directory":   {[]member{special(tar.TypeSymlink, "f", "a")}, []string{"1: replaced 0: f/x"}},
		"directory for a file":   {[]member{dir("a/x")}, []string{"1: a/x", "1: replaced 0: a/x"}},
		"directory again":        {[]member{dir("a")}, nil},
		"AUFS metadata":          {[]member{dir("a/.wh..wh.plnk")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := []string{"0: a/x", "0: ab/x", "0: f/x"}
			look(t, filter.SearchOptions{Pattern: "x"}, base, tarOf(t, c.later...)).want(t, append(told, c.want...)...)
		})
	}
}

// An image may have a layer twice, with another between that deletes.
func TestSearchTellsALayerAtEachOfItsPlaces(t *testing.T) {
	t.Parallel()
	a, b := tarOf(t, file("x", "1")), tarOf(t, file(".wh.x", ""))
	found := look(t, filter.SearchOptions{Pattern: "x"}, a, b, a)
	found.want(t, "0: x", "1: deleted 0: x", "2: x")
	if s := *found.summary; s.Matches != 2 || s.Layers != 2 || s.Hidden != 1 {
		t.Errorf("summary is %+v", s)
	}
	look(t, filter.SearchOptions{Pattern: "x", Visible: true}, a, b, a).want(t, "2: x")
}

func TestVisibleSearchGivesWhatIsInTheImage(t *testing.T) {
	t.Parallel()
	found := look(t, filter.SearchOptions{Pattern: "*x*", Visible: true},
		tarOf(t, file("x1", ""), file("x2", ""), file("x3", "")), tarOf(t, file(".wh.x1", ""), file("x2", "2")), tarOf(t, file("x4", "")))
	found.want(t, "0: x3", "1: x2", "2: x4")
	if s := *found.summary; s.Matches != 3 || s.Layers != 3 || s.Hidden != 0 {
		t.Errorf("summary is %+v", s)
	}
}
