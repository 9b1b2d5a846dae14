package filter_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
)

func TestMistakesAreUsageErrorsThatNameTheRemedy(t *testing.T) {
	t.Parallel()
	for spec, remedy := range map[string]string{
		"normalize-timestamps:ts=-1":                       "0 to 8589934591",
		"normalize-timestamps:ts=8589934592":               "0 to 8589934591",
		"normalize-timestamps:ts=yesterday":                "whole number",
		"normalize-timestamps:timestamp=1.5":               "whole number",
		"normalize-timestamps:ts=":                         "whole number",
		"normalize-timestamps:mode=floor":                  "set or clamp",
		"normalize-timestamps:config=perhaps":              "true or false",
		"normalize-timestamps:tz=1":                        "ts",
		"exclude":                                          "pattern=",
		"exclude:pattern=":                                 "pattern=",
		"exclude:pattern= , ,":                             "pattern=",
		"exclude:paterns=x":                                "pattern",
		"exclude:etc":                                      "missing =",
		"search":                                           "pattern",
		"search:pattern=(,regex=true":                      "not valid",
		"search:pattern=x,regex=perhaps":                   "true or false",
		"search:pattern=x,format=xml":                      "json",
		"search:pattern=x,format=json,script_friendly=yes": "give one",
		"search:pattern=x":                                 "nowhere to print",
		"search:patern=x":                                  "pattern",
		"config":                                           "something to set",
		"config:env=A":                                     "unset-env=A",
		"config:label==x":                                  "NAME=VALUE",
		"config:env=A=1,B=2":                               "for another env write env=B=2",
		"config:workdir=app":                               "from the root",
		`config:cmd=["a",1]`:                               "JSON array",
		"config:users=x":                                   "did you mean \"user\"",
		"platforms":                                        "only=linux/amd64",
		"platforms:only=amd64//":                           "linux/arm64",
		"platforms:only=linux/amd64,all=true":              "give one",
		"attestations":                                     "mode=none",
		"attestations:mode=split":                          "drop, keep, none",
		"deny":                                             "needs a rule",
		"deny:pattern=,allow=x":                            "needs a rule",
		"deny:max-size=big":                                "as in 100m",
		"deny:max-size=0":                                  "as in 100m",
		"deny:max-size=9999999999999g":                     "as in 100m",
		"deny:max-size=1kk":                                "as in 100m",
		"deny:secrets=all":                                 "true or false",
		"deny:patern=x":                                    "pattern",
		"inspect":                                          "file=",
		"inspect:file=":                                    "file=",
		"inspect:file=/nowhere/at/all/x":                   "make it first",
		"inspect:file=/":                                   "is a directory",
		"normalize-timestamp":                              "normalize-timestamps",
		"":                                                 "Empty",
	} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			_, err := filter.Kinds(filter.Defaults{}).New(spec)
			var usage *pipeline.UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), remedy) {
				t.Fatalf("error is %v, not a usage error that says %q", err, remedy)
			}
		})
	}
}

func TestNamesOfFiltersIgnoreCaseAndUnderscores(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"Normalize_Timestamps", " normalize-timestamps ", "NORMALIZE-TIMESTAMPS:ts=0"} {
		if got := newFilter(t, filter.Defaults{}, spec).Recipe().Key; got != "normalize-timestamps:ts=0,mode=set,config=false" {
			t.Errorf("%q has the key %q", spec, got)
		}
	}
}

func TestEqualEffectsHaveEqualKeysAndOthersDoNot(t *testing.T) {
	t.Parallel()
	epoch := int64(7)
	key := func(spec string) string { return newFilter(t, filter.Defaults{Epoch: &epoch}, spec).Recipe().Key }
	for _, same := range [][2]string{
		{"normalize-timestamps", "normalize-timestamps:ts=7"},
		{"normalize-timestamps:timestamp=3", "normalize-timestamps:mode=set,ts=+3,config=no"},
		{"exclude:pattern=a,b", "exclude:pattern=b, ./a,b,"},
		{"deny:pattern=a,b,max-size=2k", "deny:max-size=2048,secrets=no,pattern=b,a"},
		{"deny:env=Token", "deny:env=TOKEN"},
		{"platforms:only=linux/arm64", "platforms:platform=linux/aarch64"},
		{"config:label=a=1,label=b=2,user=x", "config:user=x,labels=b=2,label=a=1"},
	} {
		if key(same[0]) != key(same[1]) {
			t.Errorf("%q and %q have the keys %q and %q", same[0], same[1], key(same[0]), key(same[1]))
		}
	}
	seen := map[string]string{}
	for _, spec := range []string{
		"normalize-timestamps", "normalize-timestamps:ts=0", "normalize-timestamps:mode=clamp",
		"normalize-timestamps:config=true", "exclude:pattern=a", "exclude:pattern=a,b", "exclude:pattern=A",
		"config:user=", "config:cmd=", "config:env=a=1", "config:env=a=1,env=b=2", "config:env=b=2,env=a=1", "config:label=a=1", "config:unset-env=a",
		"deny:secrets=true", "deny:pattern=a", "deny:env=a", "deny:user=a", "deny:pattern=a,allow=a", "deny:max-size=1m", "deny:max-size=1M,secrets=yes",
	} {
		if other, ok := seen[key(spec)]; ok {
			t.Errorf("%q and %q share the key %q", spec, other, key(spec))
		}
		seen[key(spec)] = spec
	}
}

func TestEpochOutOfRangeIsNamed(t *testing.T) {
	t.Parallel()
	epoch := int64(-5)
	if _, err := filter.Kinds(filter.Defaults{Epoch: &epoch}).New("normalize-timestamps"); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH is -5") {
		t.Errorf("error is %v", err)
	}
	if _, err := filter.Kinds(filter.Defaults{Epoch: &epoch}).New("normalize-timestamps:ts=1"); err != nil {
		t.Errorf("a time of the user's own is refused: %v", err)
	}
}

// A comma within a pattern that is given as one value is not one between two,
// neither for names nor for what recipes are compared by.
func TestPatternsGivenAsSeveralValuesKeepTheirCommas(t *testing.T) {
	t.Parallel()
	for name, list := range map[string]string{"exclude": "pattern", "deny": "allow", "config": "unset-env"} {
		kind, err := filter.Kinds(filter.Defaults{}).Find(name)
		if err != nil {
			t.Fatal(err)
		}
		option, err := kind.Option(list)
		if err != nil {
			t.Fatal(err)
		}
		keys := map[string][]string{}
		for _, values := range [][]string{{"a,b"}, {"a", "b"}, {"a%2Cb"}} {
			o := pipeline.FilterOptions{}
			if name == "deny" {
				o["secrets"] = "true"
			}
			if err := o.Give(option, values); err != nil {
				t.Fatal(err)
			}
			f, err := kind.New(o)
			if err != nil {
				t.Fatal(err)
			}
			key := f.Recipe().Key
			if other, taken := keys[key]; taken {
				t.Errorf("%s: %q and %q have one recipe, %s", name, values, other, key)
			}
			keys[key] = values
		}
	}
}

// Files give a filter's name beside its options.
func TestNoOptionOfAFilterIsCalledName(t *testing.T) {
	t.Parallel()
	for _, k := range filter.Kinds(filter.Defaults{}) {
		for _, o := range k.Options {
			if o.Name == "name" || slices.Contains(o.Aliases, "name") {
				t.Errorf("%s has an option called name", k.Name)
			}
		}
	}
}
