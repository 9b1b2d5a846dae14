package pipeline

import (
	"maps"
	"slices"
	"strings"
)

// A FilterOutline is a filter and which of its options were given, without their
// values: those may be secrets.
type FilterOutline struct {
	Name    string   `json:"name"`
	Options []string `json:"options,omitempty"`
}

// String is the outline as "exclude:pattern".
func (o FilterOutline) String() string {
	if len(o.Options) == 0 {
		return o.Name
	}
	return o.Name + ":" + strings.Join(o.Options, ",")
}

// Noting returns the same kinds, which tell note of each filter that is made, in
// the order in which they are.
func (ks FilterKinds) Noting(note func(FilterOutline)) FilterKinds {
	out := slices.Clone(ks)
	for i, k := range ks {
		out[i].New = func(o FilterOptions) (Filter, error) {
			f, err := k.New(o)
			if err == nil {
				note(FilterOutline{Name: k.Name, Options: slices.Sorted(maps.Keys(o))})
			}
			return f, err
		}
	}
	return out
}
