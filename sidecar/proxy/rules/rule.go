package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// A Rule is what happens to the images of a repository.
type Rule struct {
	// Attestations says what becomes of those of an image that filters change.
	Attestations pipeline.Attestations
	// Digest is about pulls by digest.
	Digest Digest

	match string
	specs []string
	kinds pipeline.FilterKinds
	key   string
}

func newRule(s Spec, kinds pipeline.FilterKinds) (r *Rule, err error) {
	r = &Rule{match: s.Match, specs: slices.Clone(s.Filters), kinds: kinds}
	if err := checkPattern(s.Match); err != nil {
		return nil, err
	}
	if r.Attestations, err = pipeline.ParseAttestations(s.Attestations); err != nil {
		return nil, pipeline.Usage("attestations is %q; it takes drop, keep or none", s.Attestations)
	}
	switch r.Digest = Digest(s.Digest); r.Digest {
	case "":
		r.Digest = DigestExact
	case DigestExact, DigestRefuse:
	default:
		return nil, pipeline.Usage("digest is %q; it takes exact or refuse", s.Digest)
	}
	filters, err := r.Filters()
	if err != nil {
		return nil, err
	}
	opts := pipeline.Options{Attestations: r.Attestations}
	for i, f := range filters {
		if c, ok := f.(pipeline.Chooser); ok {
			if err := c.Choose(&opts); err != nil {
				return nil, fmt.Errorf("filter %q: %w", r.specs[i], err)
			}
		}
	}
	r.key = keyOf(filters, r.Attestations)
	return r, nil
}

// String names the rule for messages.
func (r *Rule) String() string {
	if r.match == "" {
		return "the rule for all repositories"
	}
	return fmt.Sprintf("the rule for %q", r.match)
}

// Filters makes the filters anew, for one run: they keep what they have seen.
func (r *Rule) Filters() ([]pipeline.Filter, error) {
	var filters []pipeline.Filter
	for _, spec := range r.specs {
		f, err := r.kinds.New(spec)
		if err != nil {
			return nil, fmt.Errorf("filter %q: %w", spec, err)
		}
		filters = append(filters, f)
	}
	return filters, nil
}

// Judges makes those of the filters anew that change nothing and see every layer, for
// images whose bytes have to stay as they are.
func (r *Rule) Judges() ([]pipeline.Filter, error) {
	filters, err := r.Filters()
	return slices.DeleteFunc(filters, func(f pipeline.Filter) bool {
		_, watches := f.(pipeline.Watcher)
		return !watches
	}), err
}

// Plain says that images go through as they are: there is no filter, and no policy
// that leaves anything out.
func (r *Rule) Plain() bool { return len(r.specs) == 0 && r.Attestations != pipeline.AttestationsNone }

// Key identifies what the rule does to an image: rules of equal keys come to equal
// images. It is of lower-case letters and digits.
func (r *Rule) Key() string { return r.key }

const keyLength = 16

func keyOf(filters []pipeline.Filter, a pipeline.Attestations) string {
	parts := []string{"attestations=" + string(a)}
	for _, f := range filters {
		recipe := f.Recipe()
		parts = append(parts, fmt.Sprintf("%q recompress=%s", recipe.Key, recipe.Recompress))
	}
	return digest.FromString(strings.Join(parts, "\n")).Encoded()[:keyLength]
}
