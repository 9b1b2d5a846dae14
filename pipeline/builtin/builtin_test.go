package builtin_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/builtin"
	"github.com/occystrap/occystrap/pipeline/filter"
)

// What ships: a place or a filter that vanishes from the list is a mistake.
func TestTheListIsComplete(t *testing.T) {
	t.Parallel()
	var schemes, filters []string
	for _, s := range builtin.Schemes(builtin.Config{}) {
		schemes = append(schemes, s.Name)
		if s.Sink == nil && s.Name != "dockerpush" || s.Source == nil && s.Name != "oci" { // an image that was unpacked is none any more
			t.Errorf("%s:// lacks an end", s.Name)
		}
		for _, o := range s.Options {
			if o.Help == "" || !o.Source && !o.Sink {
				t.Errorf("%s:// option %s has no help or no end", s.Name, o.Name)
			}
		}
	}
	for _, k := range builtin.Filters(builtin.Config{}) {
		filters = append(filters, k.Name)
		if k.Help == "" {
			t.Errorf("filter %s has no help", k.Name)
		}
	}
	if want := []string{"registry", "tar", "docker", "dockerpush", "dir", "oci", "mounts"}; !slices.Equal(schemes, want) {
		t.Errorf("schemes are %v, expected %v", schemes, want)
	}
	if want := []string{"normalize-timestamps", "exclude", "search", "inspect", "deny", "config", "platforms", "attestations", "recompress", "flatten"}; !slices.Equal(filters, want) {
		t.Errorf("filters are %v, expected %v", filters, want)
	}
}

// errOpened is what the test's own scheme answers.
var errOpened = errors.New("opened")

// A place that another package hands in answers to its aliases too, at both
// ends, as "directory" stands for "dir".
func TestASchemeAnswersToItsAliases(t *testing.T) {
	t.Parallel()
	shelf := pipeline.Scheme{
		Name: "shelf", Aliases: []string{"bookshelf"},
		Source: func(l pipeline.Location) (pipeline.Source, error) { return nil, fmt.Errorf("%s: %w", l, errOpened) },
		Sink:   func(l pipeline.Location) (pipeline.Sink, error) { return nil, fmt.Errorf("%s: %w", l, errOpened) },
	}
	schemes := builtin.Schemes(builtin.Config{}, shelf)
	for _, uri := range []string{"shelf://a", "bookshelf://a", "Bookshelf:a"} {
		_, atSource := schemes.Source(uri)
		_, atSink := schemes.Sink(uri)
		for _, err := range []error{atSource, atSink} {
			if !errors.Is(err, errOpened) || err.Error() != "shelf://a: opened" {
				t.Errorf("%s: %v", uri, err)
			}
		}
	}
}

func TestFiltersTakeTheEpochOfTheProgram(t *testing.T) {
	t.Parallel()
	epoch := int64(-1)
	kinds := builtin.Filters(builtin.Config{Filter: filter.Defaults{Epoch: &epoch}})
	if _, err := kinds.New("normalize-timestamps"); err == nil {
		t.Error("a time before 1970 is accepted")
	}
	if _, err := kinds.New("normalize-timestamps:ts=0"); err != nil {
		t.Error(err)
	}
}

func ExampleSchemes() {
	schemes := builtin.Schemes(builtin.Config{})
	_, err := schemes.Source("regstry://host/app")
	fmt.Println(err)
	// Output: Unknown input scheme: regstry (did you mean registry://?)
}
