package filter

import (
	"bytes"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
)

// A finder says what matches: names, or lines.
type finder struct {
	name  func(name string) bool
	lines *lineFinder // nil: names are looked at
}

func newFinder(o SearchOptions) (finder, error) {
	if o.Pattern == "" {
		return finder{}, pipeline.Usage("the search pattern is empty")
	}
	switch {
	case o.Content && o.Regex:
		tree, err := syntax.Parse(o.Pattern, syntax.Perl)
		if err != nil {
			return finder{}, badRegex(o.Pattern, err)
		}
		byLine(tree)
		re, err := regexp.Compile(tree.String())
		if err != nil {
			return finder{}, badRegex(o.Pattern, err)
		}
		return finder{lines: &lineFinder{find: re.FindIndex, spans: true}}, nil
	case o.Content:
		text := []byte(o.Pattern)
		return finder{lines: &lineFinder{find: func(b []byte) []int {
			if i := bytes.Index(b, text); i >= 0 {
				return []int{i, i + len(text)}
			}
			return nil
		}}}, nil
	case o.Regex:
		re, err := regexp.Compile(o.Pattern)
		if err != nil {
			return finder{}, badRegex(o.Pattern, err)
		}
		return finder{name: func(name string) bool {
			s, t := stored(name), tidy(name)
			return re.MatchString(s) || s != t && re.MatchString(t)
		}}, nil
	}
	return finder{name: globFinder(o.Pattern)}, nil
}

func badRegex(pattern string, err error) error {
	reason := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	return pipeline.Usage("the regular expression %q is not valid: %s (the syntax is RE2's, without look-around and back-references)", pattern, reason)
}

// globFinder matches a whole name or its last part, by the rules of glob. A
// pattern that starts with a slash is for whole names only, from the root.
func globFinder(pattern string) func(string) bool {
	rooted := strings.HasPrefix(pattern, "/")
	g := compileGlob(tidy(strings.TrimLeft(pattern, "/")))
	match := func(s string) bool {
		ok, _ := g.match(s)
		return ok
	}
	return func(name string) bool {
		t := tidy(name)
		if match(t) || !rooted && match(baseOf(t)) {
			return true
		}
		p := place(name)
		return p != t && match(p)
	}
}

// byLine makes the anchors of a text those of a line.
func byLine(re *syntax.Regexp) {
	switch re.Op { //nolint:exhaustive // all others stay
	case syntax.OpBeginText:
		re.Op = syntax.OpBeginLine
	case syntax.OpEndText:
		re.Op = syntax.OpEndLine
	}
	for _, sub := range re.Sub {
		byLine(sub)
	}
}
