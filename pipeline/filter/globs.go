package filter

import (
	"slices"
	"strings"
)

// globs are the patterns of one filter: a name matches if one of them does.
type globs struct {
	list  []string            // sorted, without duplicates
	exact map[string]struct{} // those without wildcards
	wild  []*glob
}

// newGlobs takes patterns. A leading "./" is dropped, as it is from names.
func newGlobs(patterns []string) *globs {
	g := &globs{exact: map[string]struct{}{}}
	for _, p := range patterns {
		if p = strings.TrimPrefix(p, "./"); p != "" {
			g.list = append(g.list, p)
		}
	}
	slices.Sort(g.list)
	g.list = slices.Compact(g.list)
	for _, p := range g.list {
		if strings.ContainsAny(p, "*?[") {
			g.wild = append(g.wild, compileGlob(p))
		} else {
			g.exact[p] = struct{}{}
		}
	}
	return g
}

// key names the patterns in one order, and no others: a comma within one is not
// one between two.
func (g *globs) key() string {
	whole := strings.NewReplacer("%", "%25", ",", "%2C")
	var out []string
	for _, p := range g.list {
		out = append(out, whole.Replace(p))
	}
	return strings.Join(out, ",")
}

func lowered(list []string) (out []string) {
	for _, s := range list {
		out = append(out, strings.ToLower(s))
	}
	return out
}

// match says whether a pattern matches a path.
func (g *globs) match(name string) bool {
	if _, ok := g.exact[name]; ok {
		return true
	}
	for _, w := range g.wild {
		if ok, _ := w.match(name); ok {
			return true
		}
	}
	return false
}

// matchName says whether a pattern matches a name as it is written, tidy, or
// the place where it leads.
func (g *globs) matchName(name string) bool {
	t, p := tidy(name), place(name)
	return g.match(t) || t != p && g.match(p)
}

// which is the first pattern that matches a path; "" for none.
func (g *globs) which(name string) string {
	for _, p := range g.list {
		if newGlobs([]string{p}).match(name) {
			return p
		}
	}
	return ""
}

// whichName is which for a name as matchName takes it.
func (g *globs) whichName(name string) string {
	if p := g.which(tidy(name)); p != "" {
		return p
	}
	return g.which(place(name))
}

// probe is a name that no pattern is made for: what matches it matches all.
const probe = "\x01any\x01"

// matchBelow says whether all that a directory can hold matches, judged by
// names at two depths.
func (g *globs) matchBelow(dir string) bool {
	inside := join(dir, probe)
	return g.match(inside) && g.match(join(inside, probe))
}

// Matcher takes patterns as of exclude, for others than filters. What it returns says
// whether a path without a leading slash, or a directory above it, matches one of
// them.
func Matcher(patterns []string) func(path string) bool {
	g := newGlobs(patterns)
	return func(path string) bool {
		for ; path != ""; path = parentOf(path) {
			if g.match(path) {
				return true
			}
		}
		return false
	}
}
