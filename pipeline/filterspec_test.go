package pipeline_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/occystrap/occystrap/pipeline"
)

// spec runs a specification through a filter kind and returns its options.
func spec(s string) (pipeline.FilterOptions, error) {
	var got pipeline.FilterOptions
	kinds := pipeline.FilterKinds{{
		Name:    "normalize-timestamps",
		Options: []pipeline.Option{{Name: "pattern"}, {Name: "ts", Aliases: []string{"timestamp"}}},
		New:     func(o pipeline.FilterOptions) (pipeline.Filter, error) { got = o; return labelled{}, nil },
	}}
	_, err := kinds.New(s)
	return got, err
}

func TestFilterSpecification(t *testing.T) {
	t.Parallel()
	const name = "normalize-timestamps"
	cases := map[string]pipeline.FilterOptions{
		name:                                {},
		name + ":":                          {},
		"Normalize_Timestamps : ts = 5":     {"ts": "5"},
		name + ":timestamp=5":               {"ts": "5"},
		name + ":ts=1,ts=2":                 {"ts": "2"},
		name + ":pattern=a,b,**/*.pyc,ts=3": {"pattern": "a,b,**/*.pyc", "ts": "3"},
		name + ":pattern=[a=b],c/d=e":       {"pattern": "[a=b],c/d=e"},
		name + ":pattern=x{1,2}":            {"pattern": "x{1,2}"},
	}
	for s, want := range cases {
		got, err := spec(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", s, d)
		}
	}
}

// An option that repeats keeps all its values, commas and arrays included; of
// another the last one counts.
func TestFilterOptionsThatRepeat(t *testing.T) {
	t.Parallel()
	var got pipeline.FilterOptions
	ks := pipeline.FilterKinds{{Name: "f", Options: []pipeline.Option{{Name: "env", Repeats: true}, {Name: "user"}}, New: func(o pipeline.FilterOptions) (pipeline.Filter, error) {
		got = o
		return nil, nil
	}}}
	if _, err := ks.New(`f:env=A=1,2,user=x,env=B=,env=["a","user=b,c=d"],user=y`); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A=1,2", "B=", `["a","user=b,c=d"]`}, got.List("env")); diff != "" || got["user"] != "y" || got.List("none") != nil {
		t.Errorf("options are %q (-want +got):\n%s", got, diff)
	}
	if _, err := ks.New("f:env=A=1,B=2"); err == nil || !strings.Contains(err.Error(), "write env=B=2") {
		t.Errorf("error is %v", err)
	}
}

func TestFilterSpecificationErrors(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"":                               "Empty filter specification",
		":ts=1":                          "Empty filter specification",
		"nope":                           "Unknown filter: nope",
		"normalise-timestamps":           "did you mean normalize-timestamps",
		"normalize-timestamps:x":         "Invalid filter option (missing =): x",
		"normalize-timestamps:patern=x":  `did you mean "pattern"`,
		"normalize-timestamps:ts=1,zz=3": `no option "zz"`,
	}
	for s, want := range cases {
		if _, err := spec(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", s, err, want)
		}
	}
}

var _ pipeline.ConfigFilter = labelled{}

func TestEditJSONKeepsWhatIsNotSet(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		in, want string
		edit     func(o *pipeline.Object) error
	}{
		"replace": {`{ "a" : 1, "b":[ 1 ] }`, `{ "a" : 2, "b":[ 1 ] }`, func(o *pipeline.Object) error { return o.Set("a", 2) }},
		"equal":   {`{ "a" : 1 }`, `{ "a" : 1 }`, func(o *pipeline.Object) error { return o.Set("a", 1) }},
		"add":     {`{"a":1}`, `{"a":1,"b":"<x>"}`, func(o *pipeline.Object) error { return o.Set("b", "<x>") }},
		"delete":  {`{"a":1,"b":2,"c":3}`, `{"a":1,"c":3}`, func(o *pipeline.Object) error { o.Delete("b"); return nil }},
		"both": {`{"a":1,"b":2}`, `{"a":3,"c":4}`, func(o *pipeline.Object) error {
			o.Delete("b")
			if err := o.Set("c", 4); err != nil {
				return err
			}
			return o.Set("a", 3)
		}},
		"nothing": {"{}\n", "{}\n", func(*pipeline.Object) error { return nil }},
	}
	for name, c := range cases {
		got, err := pipeline.EditJSON([]byte(c.in), c.edit)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, c.want)
		}
	}
	for _, bad := range []string{``, `[]`, `null`, `{"a":1`, `{"a":1,"a":2}`, `{"a":1,"A":2}`, `{} x`} {
		if _, err := pipeline.EditJSON([]byte(bad), func(*pipeline.Object) error { return nil }); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// An outline names what was given, and no value of it.
func TestOutlineHasNoValues(t *testing.T) {
	t.Parallel()
	var noted []string
	kinds := pipeline.FilterKinds{{
		Name: "config", Options: []pipeline.Option{{Name: "env", Repeats: true}, {Name: "user", Aliases: []string{"u"}}},
		New: func(o pipeline.FilterOptions) (pipeline.Filter, error) {
			if o["user"] == "nobody" {
				return nil, pipeline.Usage("nobody")
			}
			return nil, nil
		},
	}}.Noting(func(o pipeline.FilterOutline) { noted = append(noted, o.String()) })
	for spec, ok := range map[string]bool{"config:u=root,env=TOKEN=s3cr3t,env=B=2": true, "config:user=nobody": false, "confg": false} {
		if _, err := kinds.New(spec); (err == nil) != ok {
			t.Errorf("%s: %v", spec, err)
		}
	}
	if _, err := kinds.New("Config"); err != nil || strings.Join(noted, " ") != "config:env,user config" {
		t.Errorf("%v: noted %q", err, noted)
	}
}
