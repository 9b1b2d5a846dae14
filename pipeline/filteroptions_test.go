package pipeline_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline"
)

// What is given as several values needs no escape; what is given as text is
// taken apart as on a command line.
func TestGivenValuesAreTakenAsTheyAre(t *testing.T) {
	t.Parallel()
	list := pipeline.Option{Name: "pattern", Form: pipeline.List}
	for name, test := range map[string]struct {
		text   string
		values []string
		want   []string
	}{
		"text":             {text: " a, b ,,c", want: []string{"a", "b", "c"}},
		"nothing":          {},
		"several values":   {values: []string{"a,b", " c", "d=e"}, want: []string{"a,b", " c", "d=e"}},
		"one with a comma": {values: []string{"a,b"}, want: []string{"a,b"}},
		"no value":         {values: []string{}},
	} {
		o := pipeline.FilterOptions{}
		if test.text != "" {
			o["pattern"] = test.text
		}
		if test.values != nil {
			if err := o.Give(list, test.values); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if d := cmp.Diff(test.want, o.Split("pattern")); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	o := pipeline.FilterOptions{}
	for _, given := range []struct {
		option pipeline.Option
		values []string
	}{
		{pipeline.Option{Name: "env", Repeats: true}, []string{"A=1,2", "B="}},
		{pipeline.Option{Name: "none", Repeats: true}, nil},
		{pipeline.Option{Name: "cmd", Form: pipeline.Words}, []string{"/app", "a,b", `"`}},
		{pipeline.Option{Name: "nothing", Form: pipeline.Words}, nil},
		{pipeline.Option{Name: "pattern", Form: pipeline.List}, []string{"a,b"}},
		{pipeline.Option{Name: "patterns", Form: pipeline.List}, []string{"a", "b"}},
	} {
		if err := o.Give(given.option, given.values); err != nil {
			t.Errorf("%s: %v", given.option.Name, err)
		}
	}
	if d := cmp.Diff([]string{"A=1,2", "B="}, o.List("env")); d != "" || o.List("none") != nil {
		t.Errorf("env: %s, none: %q", d, o.List("none"))
	}
	if o["cmd"] != `["/app","a,b","\""]` || o["nothing"] != "" {
		t.Errorf("cmd is %s, nothing is %q", o["cmd"], o["nothing"])
	}
	if o["pattern"] == o["patterns"] {
		t.Error("one value with a comma is the same as two")
	}
}

func TestSeveralValuesOfAnOptionThatTakesOneAreRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		option pipeline.Option
		values []string
	}{
		{pipeline.Option{Name: "ts"}, []string{"1", "2"}},
		{pipeline.Option{Name: "file", Form: pipeline.File}, []string{"a"}},
		{pipeline.Option{Name: "pattern", Form: pipeline.List}, []string{"a\x00b"}},
	} {
		var usage *pipeline.UsageError
		err := pipeline.FilterOptions{}.Give(test.option, test.values)
		if !errors.As(err, &usage) || usage.Option() != test.option.Name {
			t.Errorf("%s: %v", test.option.Name, err)
		}
	}
}
