package rules

import (
	"fmt"

	"github.com/occystrap/occystrap/pipeline"
)

// A Spec is a rule as a user writes it ([[proxy.rule]] in config.toml).
type Spec struct {
	// Match is a pattern of repository names (see Match); "" in the rule for all.
	Match string
	// Filters are filter specifications, in their order (pipeline.FilterKinds.New).
	Filters []string
	// Attestations is drop (default), keep or none.
	Attestations string
	// Digest is exact (default) or refuse.
	Digest string
}

// A Digest says what a pull by digest gets where filters would change what it names.
type Digest string

const (
	// DigestExact gives the bytes of the digest, if the filters that only judge let
	// them pass.
	DigestExact Digest = "exact"
	// DigestRefuse gives nothing.
	DigestRefuse Digest = "refuse"
)

// Rules are all rules of a proxy. They do not change.
type Rules struct {
	rules []*Rule
	all   *Rule
}

// New reads the rules: specs in their order, and all for the repositories that none of
// them matches. Kinds make the filters; each is made once, to see whether it can be.
func New(all Spec, specs []Spec, kinds pipeline.FilterKinds) (*Rules, error) {
	r := &Rules{}
	var err error
	if r.all, err = newRule(all, kinds); err != nil {
		return nil, err
	}
	for i, s := range specs {
		if s.Match == "" {
			return nil, pipeline.Usage("rule %d has no match: write the pattern of the repositories that it is for, as in match = \"team/**\"", i+1)
		}
		rule, err := newRule(s, kinds)
		if err != nil {
			return nil, fmt.Errorf("rule %d (match = %q): %w", i+1, s.Match, err)
		}
		r.rules = append(r.rules, rule)
	}
	return r, nil
}

// For is the rule of a repository: the first that matches its name.
func (r *Rules) For(repository string) *Rule {
	for _, rule := range r.rules {
		if Match(rule.match, repository) {
			return rule
		}
	}
	return r.all
}

// All are the rules in their order, the one for all others last.
func (r *Rules) All() []*Rule { return append(append([]*Rule(nil), r.rules...), r.all) }
