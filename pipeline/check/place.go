package check

import (
	"cmp"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
)

// maxPath is PATH_MAX of Linux.
const maxPath = 4096

// place is the path where an extractor puts a name.
func place(name string) string { return layerpath.Of(name) }

// escapes says whether a name, taken from a directory of the tree, climbs above
// the tree's root on its way.
func escapes(dir, name string) bool {
	depth := 0
	if dir != "" && !strings.HasPrefix(name, "/") {
		depth = strings.Count(dir, "/") + 1
	}
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

func parentOf(p string) string { return layerpath.Parent(p) }
func baseOf(p string) string   { return layerpath.Base(p) }

// whiteoutPrefix by itself names nothing.
const whiteoutPrefix = layerpath.WhiteoutPrefix

// whiteout says what a place deletes: itself is a place or, opaque, what a
// directory holds.
func whiteout(at string) (hidden string, k kind) {
	hidden, what := layerpath.Whiteout(at)
	switch what {
	case layerpath.HidesPlace:
		return hidden, gone
	case layerpath.HidesContent:
		return hidden, opaque
	case layerpath.Void:
		return "", nothing
	case layerpath.HidesNothing:
	}
	return "", file
}

// quote is what a stranger has named, on one line; nothing is told as "".
func quote(s string) string { return cmp.Or(pipeline.QuoteName(s), `""`) }
