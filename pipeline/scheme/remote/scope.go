package remote

import (
	"maps"
	"slices"
	"strings"
)

// A scope is what a token is good for, as token servers write it:
// "repository:team/app:pull,push", several separated by spaces.
type scope string

func pullScope(repository string) scope { return scope("repository:" + repository + ":pull") }

func pushScope(repository string) scope { return scope("repository:" + repository + ":pull,push") }

// resources are the actions for each resource.
func (s scope) resources() map[string][]string {
	out := map[string][]string{}
	for one := range strings.FieldsSeq(string(s)) {
		i := strings.LastIndexByte(one, ':')
		if i < 0 {
			if _, ok := out[one]; !ok {
				out[one] = nil // a scope without actions, as "aws"
			}
			continue
		}
		out[one[:i]] = append(out[one[:i]], strings.Split(one[i+1:], ",")...)
	}
	return out
}

// and is the scope of both, in a canonical order.
func (s scope) and(o scope) scope {
	all := scope(string(s) + " " + string(o)).resources()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		actions := slices.Compact(slices.Sorted(slices.Values(all[name])))
		if len(actions) == 0 {
			parts = append(parts, name)
			continue
		}
		parts = append(parts, name+":"+strings.Join(actions, ","))
	}
	return scope(strings.Join(parts, " "))
}

// covers says whether o asks for nothing more.
func (s scope) covers(o scope) bool { return s.and("") == s.and(o) }
