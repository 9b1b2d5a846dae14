package filter_test

import (
	"bytes"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

func TestWhiteoutsFollowWhatTheyHide(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		stays         bool
	}{
		{"*.pyc", "a/.wh.m.pyc", false},
		{"a/secret", "a/.wh.secret", false},
		{"secret", ".wh.secret", false},
		{"secret", "./.wh.secret", false},
		{"a/**", "a/.wh.x", false},
		{"**/.wh.*", "a/.wh.x", true},
		{"a/.wh.x", "a/.wh.x", true},
		{"b/*", "a/.wh.x", true},
		{"a/x/**", "a/.wh.x", true},
		{"**/.wh.*", "a/.wh..wh..opq", true},
		{"a", "a/.wh..wh..opq", true},
		{"a/**", "a/.wh..wh..opq", true},
		{"a,a/?*", "a/.wh..wh..opq", false},
		{"a,a/**", "a/.wh..wh..opq", false},
		{"a,a/*.pyc", "a/.wh..wh..opq", true},
		{"**/.git,**/.git/**", ".git/.wh..wh..opq", false},
		{"*", ".wh..wh..opq", false},
		{"*", "a/b/.wh.x", false},
		{"**/.wh..wh.plnk/*", ".wh..wh.plnk/1.2", false},
		{"plnk", ".wh..wh.plnk", true},
		{".wh..wh.aufs", ".wh..wh.aufs", false},
		{".wh.", ".wh.", false},
	} {
		got := list(t, apply(t, nil, tarOf(t, file(c.name, "")), "exclude:pattern="+c.pattern).tar)
		if (len(got) == 1) != c.stays {
			t.Errorf("%q with %q: stays=%t", c.name, c.pattern, len(got) == 1)
		}
	}
}

func TestWhiteoutStaysWhileADirectoryBelowItWouldComeBack(t *testing.T) {
	t.Parallel()
	top := tarOf(t, file("a/.wh..git", ""))
	config := tarOf(t, dir("a/.git"), file("a/.git/config", "x"))
	for name, c := range map[string]struct {
		below   [][]byte
		pattern string
		stays   bool
	}{
		"contents stay":           {[][]byte{config, tarOf(t, file("z", ""))}, "**/.git", true},
		"deep contents stay":      {[][]byte{tarOf(t, file("./a/.git/x/y/z", "x"))}, "**/.git", true},
		"contents go too":         {[][]byte{config}, "**/.git,**/.git/**", false},
		"what it holds goes too":  {[][]byte{config}, "**/.git,**/config", false},
		"only a file below":       {[][]byte{tarOf(t, file("a/.git", "gitdir: x"))}, "**/.git", false},
		"contents of another one": {[][]byte{tarOf(t, file("b/.git/config", "x"))}, "**/.git", false},
		"nothing below":           {nil, "**/.git", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := list(t, apply(t, c.below, top, "exclude:pattern="+c.pattern).tar)
			if (len(got) == 1) != c.stays {
				t.Errorf("stays=%t", len(got) == 1)
			}
		})
	}
}

func TestWhiteoutStaysWhereTheLayersBelowCannotBeSeen(t *testing.T) {
	t.Parallel()
	top := tarOf(t, file(".wh.x", ""), dir("y"))
	unknown := layerInfo(nil, top)
	unknown.Role = pipeline.Unknown
	foreign := layerInfo(nil, top)
	foreign.Parents = []pipeline.Layer{{Foreign: pipeline.ForeignKeep}}
	for name, l := range map[string]pipeline.LayerInfo{"parents unknown": unknown, "foreign parent": foreign} {
		f := newFilter(t, filter.Defaults{}, "exclude:pattern=x,y").(pipeline.LayerFilter)
		var out bytes.Buffer
		if err := tarstream.Read(bytes.NewReader(top), 0, chain(t, l, tarstream.NewWriter(&out), []pipeline.LayerFilter{f})); err != nil {
			t.Fatal(err)
		}
		if got := list(t, out.Bytes()); len(got) != 1 {
			t.Errorf("%s: entries are %q", name, got)
		}
	}
}
