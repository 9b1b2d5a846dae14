package rules

import (
	"path"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
)

// anyDepth is the segment of a pattern that stands for any number of segments, none
// included.
const anyDepth = "**"

// Match says whether a repository name fits a pattern. Segments are compared one by
// one by the rules of path.Match, in which * does not cross a slash; a segment ** is
// any number of segments:
//
//	team/*       team/app, not team/app/web
//	team/**      team, team/app, team/app/web
//	**/app-*     app-1, team/app-1
func Match(pattern, repository string) bool {
	return matchSegments(strings.Split(pattern, "/"), strings.Split(repository, "/"))
}

// matchSegments goes back to the last ** only, which is enough: an earlier one that
// took more would leave less to the later.
func matchSegments(pattern, name []string) bool {
	star, from := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == anyDepth:
			star, from = p, n
			p++
		case p < len(pattern) && fits(pattern[p], name[n]):
			p, n = p+1, n+1
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == anyDepth {
		p++
	}
	return p == len(pattern)
}

func fits(pattern, segment string) bool {
	ok, err := path.Match(pattern, segment)
	return ok && err == nil // checkPattern has seen the pattern
}

func checkPattern(pattern string) error {
	for segment := range strings.SplitSeq(pattern, "/") {
		if _, err := path.Match(segment, "x"); err != nil {
			return pipeline.Usage("the pattern has %q, which is no valid part of one: brackets must be closed, as in [a-z]", segment)
		}
		if segment != anyDepth && strings.Contains(segment, anyDepth) {
			return pipeline.Usage("the pattern has %q: ** stands alone between slashes, as in team/**", segment)
		}
		if segment == "" && pattern != "" {
			return pipeline.Usage("the pattern has an empty part: names of repositories have no // and no / at their ends")
		}
	}
	return nil
}
