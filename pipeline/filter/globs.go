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

// parseGlobs reads patterns that are separated by commas. A leading "./" is
// dropped, as it is from names.
func parseGlobs(s string) *globs {
	g := &globs{exact: map[string]struct{}{}}
	for p := range strings.SplitSeq(s, ",") {
		if p = strings.TrimPrefix(strings.TrimSpace(p), "./"); p != "" {
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
		if parseGlobs(p).match(name) {
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
