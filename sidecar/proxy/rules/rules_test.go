package rules_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

func kinds() pipeline.FilterKinds { return filter.Kinds(filter.Defaults{}) }

func newRules(t *testing.T, all rules.Spec, specs ...rules.Spec) *rules.Rules {
	t.Helper()
	r, err := rules.New(all, specs, kinds())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"team/app", "team/app", true},
		{"team/app", "team/app2", false},
		{"team/*", "team/app", true},
		{"team/*", "team", false},
		{"team/*", "team/app/web", false},
		{"team/**", "team", true},
		{"team/**", "team/app/web", true},
		{"team/**", "teams/app", false},
		{"**", "a/b/c", true},
		{"**/app-*", "app-1", true},
		{"**/app-*", "team/x/app-1", true},
		{"**/app-*", "team/app-1/x", false},
		{"a/**/b/**/c", "a/b/b/x/c", true},
		{"a/**/b/**/c", "a/x/b/y", false},
		{"a/**/**/c", "a/c", true},
		{"[a-m]*/x", "kilo/x", true},
		{"[a-m]*/x", "oscar/x", false},
		{"*", "app", true},
		{"*", "team/app", false},
		{"**/a/**/a/**/a/**/b", strings.Repeat("a/", 100) + "a", false}, // no endless search
	} {
		if got := rules.Match(c.pattern, c.name); got != c.want {
			t.Errorf("%q and %q: %t", c.pattern, c.name, got)
		}
	}
}

func TestFirstRuleThatMatchesCounts(t *testing.T) {
	t.Parallel()
	r := newRules(t, rules.Spec{Filters: []string{"normalize-timestamps"}},
		rules.Spec{Match: "team/raw", Attestations: "keep"},
		rules.Spec{Match: "team/**", Filters: []string{"deny:secrets=true", "exclude:pattern=*.pyc"}, Digest: "refuse"},
		rules.Spec{Match: "**/raw", Filters: []string{"exclude:pattern=x"}},
	)
	for name, want := range map[string]struct {
		filters, judges int
		digest          rules.Digest
		plain           bool
	}{
		"team/raw":   {0, 0, rules.DigestExact, true},
		"team/app":   {2, 1, rules.DigestRefuse, false},
		"other/raw":  {1, 0, rules.DigestExact, false},
		"some/thing": {1, 0, rules.DigestExact, false},
	} {
		rule := r.For(name)
		filters, err := rule.Filters()
		judges, jerr := rule.Judges()
		if err := errors.Join(err, jerr); err != nil {
			t.Fatal(err)
		}
		if len(filters) != want.filters || len(judges) != want.judges || rule.Digest != want.digest || rule.Plain() != want.plain {
			t.Errorf("%s: %s has %d filters and %d judges, digest %s, plain %t", name, rule, len(filters), len(judges), rule.Digest, rule.Plain())
		}
	}
	if n := len(r.All()); n != 4 {
		t.Errorf("%d rules", n)
	}
}

func TestFiltersAreFresh(t *testing.T) {
	t.Parallel()
	rule := newRules(t, rules.Spec{Filters: []string{"deny:secrets=true"}}).For("x")
	one, err := rule.Filters()
	two, err2 := rule.Filters()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if one[0] == two[0] {
		t.Error("two runs share a filter")
	}
}

func TestKeyTellsRulesApart(t *testing.T) {
	t.Parallel()
	key := func(s rules.Spec) string { return newRules(t, s).For("x").Key() }
	specs := []rules.Spec{
		{},
		{Attestations: "keep"},
		{Filters: []string{"normalize-timestamps"}},
		{Filters: []string{"normalize-timestamps:ts=5"}},
		{Filters: []string{"normalize-timestamps", "exclude:pattern=a"}},
		{Filters: []string{"exclude:pattern=a", "normalize-timestamps"}},
		{Filters: []string{"exclude:pattern=a,b"}},
	}
	seen := map[string]int{}
	for i, s := range specs {
		k := key(s)
		if other, again := seen[k]; again {
			t.Errorf("%v and %v have the key %s", specs[other], s, k)
		}
		seen[k] = i
		if k != key(s) {
			t.Errorf("%v has several keys", s)
		}
	}
	if key(rules.Spec{Filters: []string{"normalize_timestamps"}}) != key(specs[2]) {
		t.Error("one filter in two spellings has two keys")
	}
}

func TestMistakesNameTheRule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		all   rules.Spec
		specs []rules.Spec
		want  string
	}{
		{rules.Spec{Filters: []string{"exclud:pattern=x"}}, nil, `filter "exclud:pattern=x": Unknown filter: exclud (did you mean exclude?)`},
		{rules.Spec{Attestations: "maybe"}, nil, `attestations is "maybe"; it takes drop, keep or none`},
		{rules.Spec{}, []rules.Spec{{Match: "a"}, {Match: "team/[", Filters: nil}}, `rule 2 (match = "team/["): the pattern has "["`},
		{rules.Spec{}, []rules.Spec{{Match: "team/a**"}}, `rule 1 (match = "team/a**"): the pattern has "a**": ** stands alone`},
		{rules.Spec{}, []rules.Spec{{Match: "/team"}}, `an empty part`},
		{rules.Spec{}, []rules.Spec{{Filters: []string{"deny:secrets=true"}}}, `rule 1 has no match`},
		{rules.Spec{}, []rules.Spec{{Match: "a", Digest: "same"}}, `rule 1 (match = "a"): digest is "same"; it takes exact or refuse`},
		{rules.Spec{}, []rules.Spec{{Match: "a", Filters: []string{"deny"}}}, `rule 1 (match = "a"): filter "deny": deny filter needs a rule`},
		{rules.Spec{Filters: []string{"platforms:only=linux/arm64", "platforms:all=true"}}, nil, `filter "platforms:all=true": the images are chosen twice`},
	} {
		_, err := rules.New(c.all, c.specs, kinds())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		if usage := new(pipeline.UsageError); !errors.As(err, &usage) {
			t.Errorf("%v is no mistake of the user", err)
		}
	}
}

func TestDeniedIsOneSentence(t *testing.T) {
	t.Parallel()
	if e := rules.Denied(errors.New("disk on fire")); e != nil {
		t.Errorf("%v", e)
	}
	if e := rules.Denied(nil); e != nil {
		t.Errorf("%v", e)
	}
	a, b := pipeline.Refused("deny refuses the layer: a\nb matches"), pipeline.Refused("deny refuses the layer: c")
	err := fmt.Errorf("push: %w", errors.Join(
		fmt.Errorf("layer 1: %w", &pipeline.Error{Side: pipeline.FilterSide, Err: a}), errors.New("another thing"),
		fmt.Errorf("layer 2: %w", &pipeline.Error{Side: pipeline.FilterSide, Err: b}), a,
	))
	e := rules.Denied(err)
	if e == nil || e.Code != registry.Denied || e.Message != "deny refuses the layer: a b matches; deny refuses the layer: c" {
		t.Errorf("%v", e)
	}
	if e := rules.Denied(pipeline.Refused("%s", strings.Repeat("é", 5000))); len(e.Message) > 1010 || !strings.HasSuffix(e.Message, "…") {
		t.Errorf("%d bytes", len(e.Message))
	}
}
