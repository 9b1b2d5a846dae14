package compare_test

import (
	"strings"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/compare"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func TestEveryAspectOfAFileIsTold(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	later := pipelinetest.When.Add(time.Second)
	xattr := func(name, value string) map[string]string { return map[string]string{"SCHILY.xattr." + name: value} }
	a := image(t, s, []file{
		{Name: "attr", PAX: xattr("user.x", "1")},
		{Name: "body", Body: "one"},
		{Name: "dev", Type: '3'},
		{Name: "gone", Body: "x"},
		{Name: "link", Type: '2', Link: "here"},
		{Name: "mode", Mode: 0o755},
		{Name: "same", Body: "same"},
		{Name: "sub/"},
		{Name: "sub-x"},
		{Name: "sub/leaf"},
		{Name: "tied", Type: '1', Link: "body"},
		{Name: "time"},
		{Name: "turn"},
	})
	b := image(t, s, []file{
		{Name: "./attr", PAX: xattr("user.x", "2")},
		{Name: "body", Body: "two"},
		{Name: "dev", Type: '4'},
		{Name: "link", Type: '2', Link: "there", Mode: 0o777},
		{Name: "mode", Mode: 0o4755},
		{Name: "new", Body: "12345"},
		{Name: "same", Body: "same"},
		{Name: "sub/"},
		{Name: "sub-x"},
		{Name: "sub/leaf", Body: "l", Time: later},
		{Name: "tied", Type: '1', Link: "same"},
		{Name: "time", Time: later},
		{Name: "turn/"},
	})
	expect(t, files(t, s, a, b, compare.Options{}),
		"~attr xattrs", "~body content", "~dev type", "-gone", "~link target", "~mode mode", "+new",
		"~sub/leaf content,time", "~tied content", "~time time", "~turn type")
	expect(t, files(t, s, a, b, compare.Options{IgnoreTimes: true, Match: func(p string) bool { return strings.Contains(p, "t") }}),
		"~attr xattrs", "~tied content", "~turn type")
	c := run(t, s.Source(a), s.Source(b), compare.Options{})
	if got := c.Summary; got.Same != 3 || got.AddedBytes != 5 || got.RemovedBytes != 1 || got.Growth != 5 || c.Equal() {
		t.Errorf("the summary is %+v", got)
	}
}

// What a container sees counts, however the layers come to it.
func TestLayersAreMergedBeforeTheyAreCompared(t *testing.T) {
	t.Parallel()
	for name, layers := range map[string][][]file{
		"replaced":        {{{Name: "a/f", Body: "old"}}, {{Name: "a/f", Body: "f"}, {Name: "b", Body: "b"}}},
		"deleted":         {{{Name: "a/f", Body: "f"}, {Name: "a/g"}, {Name: "c/d"}, {Name: "c"}, {Name: "b", Body: "b"}}, {{Name: "a/.wh.g"}, {Name: ".wh.c"}}},
		"opaque":          {{{Name: "a/g"}, {Name: "a/h/i"}}, {{Name: "a/f", Body: "f"}, {Name: "a/.wh..wh..opq"}, {Name: "b", Body: "b"}}},
		"opaque root":     {{{Name: "x"}, {Name: "y/z"}}, {{Name: ".wh..wh..opq"}, {Name: "a/f", Body: "f"}, {Name: "b", Body: "b"}}},
		"whiteout first":  {{{Name: "b/x"}}, {{Name: ".wh.b"}, {Name: "b", Body: "b"}, {Name: "a/f", Body: "f"}}},
		"whiteout last":   {{{Name: "b/x"}}, {{Name: "b", Body: "b"}, {Name: "a/f", Body: "f"}, {Name: ".wh.b"}}},
		"file, directory": {{{Name: "a", Body: "x"}}, {{Name: "a/f", Body: "f"}, {Name: "b", Body: "b"}}},
		"directory, file": {{{Name: "b/c/d"}, {Name: "a/f", Body: "f"}}, {{Name: "b", Body: "b"}}},
		"comes back":      {{{Name: "a/g"}}, {{Name: ".wh.a"}}, {{Name: "a/f", Body: "f"}, {Name: "b", Body: "b"}}},
		"file between":    {{{Name: "a/g"}, {Name: "b", Body: "b"}}, {{Name: "a", Body: "x"}}, {{Name: "a/f", Body: "f"}}},
		"twice":           {{{Name: "b", Body: "1"}, {Name: "b", Body: "b"}, {Name: "/a//f", Body: "x"}, {Name: "../a/./f", Body: "f"}}},
		"aufs":            {{{Name: ".wh..wh.aufs"}, {Name: "a/f", Body: "f"}, {Name: "b", Body: "b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.NewStore()
			flat := image(t, s, []file{{Name: "a/f", Body: "f"}, {Name: "b", Body: "b"}})
			expect(t, files(t, s, flat, image(t, s, layers...), compare.Options{}))
		})
	}
}

// A directory that only its content tells of is there, and nothing more is known.
func TestImpliedDirectoriesAreDirectories(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	a := image(t, s, []file{{Name: "./"}, {Name: "a/b/c"}, {Name: "x"}})
	b := image(t, s, []file{{Name: "a/"}, {Name: "a/b/"}, {Name: "a/b/c"}, {Name: "x/y"}})
	expect(t, files(t, s, a, b, compare.Options{}), "~x type", "+x/y")
}

func TestPathsAreOrderedAsInAWalk(t *testing.T) {
	t.Parallel()
	s := pipelinetest.NewStore()
	b := image(t, s, []file{{Name: "a-b"}, {Name: "a/"}, {Name: "a/b/"}, {Name: "a.b"}, {Name: "a/\xff"}, {Name: "a/b/c"}})
	expect(t, files(t, s, image(t, s), b, compare.Options{}), "+a", "+a/b", "+a/b/c", "+a/\xff", "+a-b", "+a.b")
}
