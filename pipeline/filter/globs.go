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

// probe is a name that no pattern is made for: what matches it matches all.
const probe = "\x01any\x01"

// matchBelow says whether all that a directory can hold matches, judged by
// names at two depths.
func (g *globs) matchBelow(dir string) bool {
	inside := join(dir, probe)
	return g.match(inside) && g.match(join(inside, probe))
}
