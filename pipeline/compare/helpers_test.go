package compare_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/compare"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

type file = pipelinetest.File

// image stores an image of layers.
func image(t testing.TB, s *pipelinetest.Store, layers ...[]file) ocispec.Descriptor {
	t.Helper()
	i := pipelinetest.Image{Compression: pipeline.Gzip}
	for _, l := range layers {
		i.Layers = append(i.Layers, pipelinetest.Tar(t, l...))
	}
	return s.Image(t, i)
}

func run(t testing.TB, a, b pipeline.Source, o compare.Options) *compare.Comparison {
	t.Helper()
	o.TempDir = t.TempDir()
	c, err := compare.Run(t.Context(), compare.Input{Source: a}, compare.Input{Source: b}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// lines are the differences, one on a line.
func lines(t testing.TB, c *compare.Comparison) (out []string) {
	t.Helper()
	for change, err := range c.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case change.A == nil:
			out = append(out, "+"+change.Path)
		case change.B == nil:
			out = append(out, "-"+change.Path)
		default:
			out = append(out, fmt.Sprintf("~%s %s", change.Path, join(change.What)))
		}
	}
	return out
}

func join(what []compare.Aspect) string {
	var s []string
	for _, w := range what {
		s = append(s, string(w))
	}
	return strings.Join(s, ",")
}

// files compares two images, and checks that the summary counts what is told.
func files(t testing.TB, s *pipelinetest.Store, a, b ocispec.Descriptor, o compare.Options) []string {
	t.Helper()
	c := run(t, s.Source(a, "a:1"), s.Source(b, "b:1"), o)
	got := lines(t, c)
	counts := map[byte]int{}
	for _, l := range got {
		counts[l[0]]++
	}
	if sum := c.Summary; sum.Added != counts['+'] || sum.Removed != counts['-'] || sum.Changed != counts['~'] {
		t.Errorf("the summary is %+v of %v", sum, got)
	}
	return got
}

func expect(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("differences are\n  %s\nexpected\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
