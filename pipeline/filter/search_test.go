package filter_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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

// gated is content that holds back one blob until something happens.
type gated struct {
	*pipelinetest.Store
	blob digest.Digest
	gate <-chan struct{}
}

func (g *gated) Open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if d.Digest == g.blob {
		select {
		case <-g.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return g.Store.Open(ctx, d)
}

// gatedSource is a source of gated content.
type gatedSource struct {
	*gated
	roots []pipeline.Root
}

func (g gatedSource) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	return pipeline.Resolve(ctx, g.gated, g.roots, q, pipeline.ResolveOptions{}, nil)
}

func TestSearchTellsALayerBeforeTheNextIsRead(t *testing.T) {
	t.Parallel()
	layers := [][]byte{tarOf(t, file("x0", "")), tarOf(t, file("x1", "")), tarOf(t, file("x2", ""))}
	src := imageOf(t, layers...)
	gate := make(chan struct{})
	found := &searched{onLayer: func(l filter.SearchedLayer) error {
		if l.Index == 0 {
			close(gate) // the second layer is not read before
		}
		return nil
	}}
	second := digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, layers[1]))
	slow := gatedSource{&gated{src.Store, second, gate}, src.Roots}
	if err := pipeline.Look(t.Context(), slow, newSearch(t, filter.SearchOptions{Pattern: "x*"}, found), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	found.want(t, "0: x0", "1: x1", "2: x2")
}

// Images that share layers are each told whole; every layer is read once.
func TestSearchTellsEveryImageAndReadsLayersOnce(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	base := tarOf(t, file("x", "1"))
	one := s.Image(t, pipelinetest.Image{Layers: [][]byte{base, tarOf(t, file(".wh.x", ""))}})
	two := s.Image(t, pipelinetest.Image{Platform: "linux/arm64", Layers: [][]byte{base, tarOf(t, file("y/x", ""))}})
	src := s.Source(s.Index(t, one, two), "docker.io/library/app:1")
	found := &searched{}
	if err := pipeline.Look(t.Context(), src, newSearch(t, filter.SearchOptions{Pattern: "x"}, found), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	found.want(t, "0: x", "1: deleted 0: x", "0: x", "1: y/x")
	if n := s.Opened(digest.FromBytes(base)); n != 1 {
		t.Errorf("the shared layer was opened %d times", n)
	}
	for i, l := range found.layers {
		if want := i / 2; l.Image.Index != want || l.Image.Count != 2 || !slices.Equal(l.Image.Names, []string{"docker.io/library/app:1"}) {
			t.Errorf("layer %d is told of image %+v", i, l.Image)
		}
	}
}

// A layer that cannot be read is named; the others are searched.
func TestSearchGoesOnBehindAnUnreadableLayer(t *testing.T) {
	t.Parallel()
	layers := [][]byte{tarOf(t, file("x0", "")), tarOf(t, file("x1", "")), tarOf(t, file("x2", ""))}
	src := imageOf(t, layers...)
	broken := digest.FromBytes(pipelinetest.Compress(t, pipeline.Gzip, layers[1]))
	src.Store.Corrupt(broken, []byte("no gzip"))
	found := &searched{}
	err := pipeline.Look(t.Context(), src, newSearch(t, filter.SearchOptions{Pattern: "x*"}, found), pipeline.Options{})
	if err == nil || !strings.Contains(err.Error(), broken.Encoded()[:12]) {
		t.Errorf("error is %v", err)
	}
	found.want(t, "0: x0", "2: x2")
	if u := found.summary.Unreadable; len(u) != 1 || u[0].Index != 1 || u[0].Err == nil {
		t.Errorf("unreadable are %+v", u)
	}
}

// What the results refuse ends the search.
func TestSearchEndsWhenItsResultsAreRefused(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	found := &searched{onLayer: func(filter.SearchedLayer) error { return enough }}
	err := pipeline.Look(t.Context(), imageOf(t, tarOf(t, file("x", ""))), newSearch(t, filter.SearchOptions{Pattern: "x"}, found), pipeline.Options{})
	if !errors.Is(err, enough) || found.summary != nil {
		t.Errorf("error is %v, summary %v", err, found.summary)
	}
}

// flaky is content whose blobs break off near their end at the first reading.
type flaky struct {
	*pipelinetest.Store
	mu    sync.Mutex
	tried map[digest.Digest]bool
}

func (f *flaky) Open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rc, err := f.Store.Open(ctx, d)
	if err != nil || f.tried[d.Digest] {
		return rc, err
	}
	f.tried[d.Digest] = true
	return &breaksOff{rc}, nil
}

type breaksOff struct{ io.ReadCloser }

func (b *breaksOff) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		return n, passing{errors.New("connection lost")}
	}
	return n, err
}

type passing struct{ error }

func (passing) Temporary() bool { return true }

// A layer that had to be read again is told once.
func TestSearchTellsALayerOnceHoweverOftenItIsRead(t *testing.T) {
	t.Parallel()
	src := imageOf(t, tarOf(t, file("x0", "")), tarOf(t, file("x1", "")))
	found := &searched{}
	again := flakySource{&flaky{Store: src.Store, tried: map[digest.Digest]bool{}}, src.Roots}
	if err := pipeline.Look(t.Context(), again, newSearch(t, filter.SearchOptions{Pattern: "x*"}, found), pipeline.Options{Retries: 1}); err != nil {
		t.Fatal(err)
	}
	found.want(t, "0: x0", "1: x1")
}

type flakySource struct {
	*flaky
	roots []pipeline.Root
}

func (f flakySource) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	return pipeline.Resolve(ctx, f.flaky, f.roots, q, pipeline.ResolveOptions{}, nil)
}
