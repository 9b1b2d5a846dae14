package compare_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/compare"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// opened says how often each layer of an image was opened.
func opened(t testing.TB, s *pipelinetest.Store, image ocispec.Descriptor) (out []int) {
	t.Helper()
	var m ocispec.Manifest
	if err := json.Unmarshal(s.Bytes(image.Digest), &m); err != nil {
		t.Fatal(err)
	}
	for _, l := range m.Layers {
		out = append(out, s.Opened(l.Digest))
	}
	return out
}

func TestALayerIsReadOnceAndOnlyWhereItCounts(t *testing.T) {
	t.Parallel()
	base := []file{{Name: "etc/"}, {Name: "etc/os", Body: "os"}}
	app := []file{{Name: "app/"}, {Name: "app/main", Body: "main"}}
	for name, c := range map[string]struct {
		a, b [][]file
		far  bool
		// openedA and openedB are how often each layer was opened.
		openedA, openedB []int
		want             []string
	}{
		"the same layers":           {a: [][]file{base, app}, b: [][]file{base, app}, openedA: []int{0, 0}, openedB: []int{0, 0}},
		"the same paths above":      {a: [][]file{base, app}, b: [][]file{base, {{Name: "app/"}, {Name: "app/main", Body: "new"}}}, openedA: []int{0, 1}, openedB: []int{0, 1}, want: []string{"~app/main content"}},
		"one more path above":       {a: [][]file{base, app}, b: [][]file{base, append(app, file{Name: "app/new"})}, openedA: []int{1, 1}, openedB: []int{0, 1}, want: []string{"+app/new"}},
		"one is far":                {a: [][]file{base, app}, b: [][]file{base, append(app, file{Name: "app/new"})}, far: true, openedA: []int{0, 1}, openedB: []int{1, 1}, want: []string{"+app/new"}},
		"one layer more":            {a: [][]file{base}, b: [][]file{base, app}, openedA: []int{1}, openedB: []int{0, 1}, want: []string{"+app", "+app/main"}},
		"the same above another":    {a: [][]file{base, app}, b: [][]file{{{Name: "etc/"}}, app}, openedA: []int{1, 1}, openedB: []int{1, 0}, want: []string{"-etc/os"}},
		"the same, one is far":      {a: [][]file{base, app}, b: [][]file{{{Name: "etc/"}}, app}, far: true, openedA: []int{1, 0}, openedB: []int{1, 1}, want: []string{"-etc/os"}},
		"a shared layer once again": {a: [][]file{base, app}, b: [][]file{base, {{Name: ".wh.app"}}, base}, openedA: []int{0, 1}, openedB: []int{1, 1, 1}, want: []string{"-app", "-app/main"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sa, sb := pipelinetest.NewStore(), pipelinetest.NewStore()
			a, b := image(t, sa, c.a...), image(t, sb, c.b...)
			got, err := compare.Run(t.Context(), compare.Input{Source: sa.Source(a), Far: c.far}, compare.Input{Source: sb.Source(b)}, compare.Options{TempDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			expect(t, lines(t, got), c.want...)
			if o := opened(t, sa, a); !slices.Equal(o, c.openedA) {
				t.Errorf("the layers of a were opened %v times", o)
			}
			if o := opened(t, sb, b); !slices.Equal(o, c.openedB) {
				t.Errorf("the layers of b were opened %v times", o)
			}
		})
	}
}

// A source that can be opened once is read whole, and no more often.
func TestAStreamIsReadOnce(t *testing.T) {
	t.Parallel()
	base, app := []file{{Name: "etc/os"}}, []file{{Name: "app", Body: "app"}}
	for _, swap := range []bool{false, true} {
		sa, sb := pipelinetest.NewStore(), pipelinetest.NewStore()
		a, b := image(t, sa, base, app), image(t, sb, base)
		stream, other := compare.Input{Source: &once{Source: sa.Source(a)}, Once: true}, compare.Input{Source: sb.Source(b)}
		want := []string{"-app"}
		if swap {
			stream, other, want = other, stream, []string{"+app"}
		}
		c, err := compare.Run(t.Context(), stream, other, compare.Options{TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		expect(t, lines(t, c), want...)
		if o := opened(t, sa, a); !slices.Equal(o, []int{1, 1}) {
			t.Errorf("the layers of the stream were opened %v times", o)
		}
		if o := opened(t, sb, b); !slices.Equal(o, []int{0}) {
			t.Errorf("the layers of the other were opened %v times", o)
		}
	}
}

func TestALayerThatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	a, b := image(t, s, []file{{Name: "a"}}), image(t, s, []file{{Name: "b"}})
	var m ocispec.Manifest
	if err := json.Unmarshal(s.Bytes(b.Digest), &m); err != nil {
		t.Fatal(err)
	}
	s.Corrupt(m.Layers[0].Digest, []byte("no layer"))
	dir := t.TempDir()
	_, err := compare.Run(t.Context(), compare.Input{Source: s.Source(a)}, compare.Input{Source: s.Source(b)}, compare.Options{TempDir: dir})
	if err == nil || !strings.Contains(err.Error(), pipeline.ErrDigest.Error()) {
		t.Errorf("the error is %v", err)
	}
}

// Windows images have their lowest layers elsewhere.
func TestLayersThatAreKeptElsewhereAreNamed(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	a, b := image(t, s, []file{{Name: "base"}}, []file{{Name: "x"}}), image(t, s, []file{{Name: "y"}})
	var m ocispec.Manifest
	if err := json.Unmarshal(s.Bytes(a.Digest), &m); err != nil {
		t.Fatal(err)
	}
	s.Delete(m.Layers[0].Digest)
	m.Layers[0].URLs = []string{"https://example.com/base"}
	a = s.PutJSON(t, ocispec.MediaTypeImageManifest, m)
	c := run(t, s.Source(a), s.Source(b), compare.Options{})
	expect(t, lines(t, c), "-x", "+y")
	if !slices.Equal(c.A.Unread, []int{0}) || len(c.B.Unread) > 0 {
		t.Errorf("unread are %v and %v", c.A.Unread, c.B.Unread)
	}
}
