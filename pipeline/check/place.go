package check

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

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

// quote is what a stranger has named, on one line: as it is, or as a Go string
// where it has control characters or is no UTF-8.
func quote(s string) string {
	if s != "" && utf8.ValidString(s) && !strings.HasPrefix(s, `"`) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}
