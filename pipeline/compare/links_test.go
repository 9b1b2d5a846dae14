package compare_test

import (
	"testing"

	"github.com/occystrap/occystrap/pipeline/compare"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

func link(name, to string) file { return file{Name: name, Type: '1', Link: to} }

// A hard link is what its target is when the layer comes to it, whichever of the
// names an archiver met first.
func TestAHardLinkIsWhatItsTargetIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b [][]file
		want []string
	}{
		"the other name first":    {a: [][]file{{{Name: "x", Body: "1"}, link("y", "x")}}, b: [][]file{{{Name: "y", Body: "1"}, link("x", "./y")}}},
		"a copy":                  {a: [][]file{{{Name: "x", Body: "1"}, link("y", "x")}}, b: [][]file{{{Name: "x", Body: "1"}, {Name: "y", Body: "1"}}}},
		"another content":         {a: [][]file{{{Name: "x", Body: "1"}, link("y", "x")}}, b: [][]file{{{Name: "x", Body: "2"}, link("y", "x")}}, want: []string{"~x content", "~y content"}},
		"a chain":                 {a: [][]file{{{Name: "x", Body: "1"}, link("y", "x"), link("a", "y"), link("z", "a")}}, b: [][]file{{{Name: "x", Body: "1"}, link("y", "x"), link("a", "x"), {Name: "z", Body: "2"}}}, want: []string{"~z content"}},
		"the target is replaced":  {a: [][]file{{{Name: "x", Body: "1"}, link("y", "x")}, {{Name: "x", Body: "2"}}}, b: [][]file{{{Name: "x", Body: "2"}, {Name: "y", Body: "1"}}}},
		"replaced in the layer":   {a: [][]file{{{Name: "x", Body: "1"}, link("y", "x"), {Name: "x", Body: "2"}}}, b: [][]file{{{Name: "x", Body: "2"}, {Name: "y", Body: "1"}}}},
		"a link that is replaced": {a: [][]file{{{Name: "x", Body: "1"}, link("y", "x"), {Name: "y", Body: "3"}}}, b: [][]file{{{Name: "x", Body: "1"}, {Name: "y", Body: "3"}}}},
		"to a symbolic link":      {a: [][]file{{{Name: "x", Type: '2', Link: "t"}, link("y", "x")}}, b: [][]file{{{Name: "x", Type: '2', Link: "t"}, {Name: "y", Type: '2', Link: "u"}}}, want: []string{"~y target"}},
		"to nothing in the layer": {a: [][]file{{{Name: "x"}}, {link("y", "x"), link("z", "d"), {Name: "d/"}}}, b: [][]file{{{Name: "x"}}, {link("y", "v"), link("z", "d"), {Name: "d/"}}}, want: []string{"~y type"}},
		"in a lower layer":        {a: [][]file{{{Name: "x", Body: "1"}}, {link("y", "x")}, {{Name: ".wh.x"}}}, b: [][]file{{{Name: "x", Body: "2"}}, {link("y", "x")}, {{Name: ".wh.x"}}}, want: []string{"~y content"}},
		"in a shared layer":       {a: [][]file{{{Name: "x", Body: "1"}}, {link("y", "x"), link("z", "x")}}, b: [][]file{{{Name: "x", Body: "1"}}, {{Name: "y", Body: "1"}, {Name: "z", Body: "2"}}}, want: []string{"~z content"}},
		"in two lower layers":     {a: [][]file{{{Name: "x", Body: "1"}}, {{Name: "x", Body: "2"}}, {link("y", "x")}, {{Name: "x", Body: "3"}}}, b: [][]file{{{Name: "x", Body: "3"}, {Name: "y", Body: "2"}}}},
		"a chain through layers":  {a: [][]file{{{Name: "x", Body: "1"}}, {link("y", "x")}, {{Name: "x", Body: "2"}}, {link("a", "y"), link("b", "a")}}, b: [][]file{{{Name: "x", Body: "2"}, {Name: "y", Body: "1"}, {Name: "a", Body: "1"}, {Name: "b", Body: "1"}}}},
		"deleted with its directory": {
			a:    [][]file{{{Name: "d/x", Body: "1"}}, {{Name: ".wh.d"}}, {link("y", "d/x")}},
			b:    [][]file{{{Name: "d/x", Body: "1"}}, {{Name: ".wh.d"}}, {{Name: "y", Body: "1"}}},
			want: []string{"~y type"},
		},
		"deleted by its own layer": {
			a:    [][]file{{{Name: "d/x", Body: "1"}}, {link("y", "d/x"), {Name: "d/.wh..wh..opq"}}},
			b:    [][]file{{{Name: "d/z"}, {Name: "y", Body: "1"}}, {{Name: "d/.wh.z"}}},
			want: []string{"~y type"},
		},
		"to itself and in circles": {
			a:    [][]file{{link("a", "a"), link("b", "c"), link("c", "b")}},
			b:    [][]file{{link("a", "a"), link("b", "c"), link("c", "c")}},
			want: []string{"~c target"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pipelinetest.NewStore()
			expect(t, files(t, s, image(t, s, c.a...), image(t, s, c.b...), compare.Options{}), c.want...)
		})
	}
}
