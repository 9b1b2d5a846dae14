package main

import (
	"regexp"
	"slices"
	"testing"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func TestWalkAndSearchCompareTheSameLines(t *testing.T) {
	t.Parallel()
	_, l, _ := smallChecker(t)
	want, err := walk(t.Context(), l, "file1*")
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != smallLayers*11 || !regexp.MustCompile(`^[0-9a-f]{64}:layer0/file1$`).MatchString(want[0]) {
		t.Fatalf("%d files, the first %v", len(want), want[:1])
	}
	printed := ""
	for _, w := range slices.Backward(want) {
		printed += "127.0.0.1:5000/bench:1:" + w + "\n"
	}
	if err := sameFiles(beforeLayer.ReplaceAllString(printed, "$1"), want); err != nil {
		t.Error(err)
	}
	if err := sameFiles(printed, want[1:]); err == nil {
		t.Error("a file too many is accepted")
	}
}

func TestVariablesAreThoseOfTheBenchmarks(t *testing.T) {
	t.Parallel()
	if layersVariable != pipelinetest.LayersVariable || reportVariable != pipelinetest.ReportVariable {
		t.Error("pipelinetest calls them otherwise")
	}
}

func TestPassesMustComeToTheSame(t *testing.T) {
	t.Parallel()
	first := layerPass{Plain: 5, Digests: []string{"a", "b"}}
	for name, tc := range map[string]struct {
		got  layerPass
		good bool
	}{
		"the same":       {first, true},
		"fewer bytes":    {layerPass{Plain: 4, Digests: first.Digests}, false},
		"another digest": {layerPass{Plain: 5, Digests: []string{"a", "c"}}, false},
	} {
		if err := samePass(first, tc.got, 5); (err == nil) != tc.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFolderThatIsToBeGoneIsLookedFor(t *testing.T) {
	t.Parallel()
	c, _, archive := smallChecker(t)
	if err := c.changedArchive(archive, change{content: true, without: []string{"usr"}})(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.changedArchive(archive, change{content: true, without: []string{"layer1"}})(t.Context()); err == nil {
		t.Error("files that are still there are accepted")
	}
}
