package check

import (
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPath is PATH_MAX of Linux.
const maxPath = 4096

// place is the path where an extractor puts a name: two names with the same
// place are one file. The root is "".
func place(name string) string {
	if p := path.Clean(name); p[0] != '/' && p[0] != '.' {
		return p
	}
	return path.Clean("/" + name)[1:] // cannot leave the root
}

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

func parentOf(p string) string { return p[:max(0, strings.LastIndexByte(p, '/'))] }
func baseOf(p string) string   { return p[strings.LastIndexByte(p, '/')+1:] }

// How layers say that something is gone: image-spec, layer.md, "Whiteouts".
const (
	whiteoutPrefix = ".wh."
	metaPrefix     = ".wh..wh." // of AUFS: no whiteout
	opaqueName     = ".wh..wh..opq"
)

// whiteout says what a place deletes: itself is a place or, opaque, what a
// directory holds.
func whiteout(at string) (hidden string, k kind) {
	dir, base := parentOf(at), baseOf(at)
	switch {
	case base == opaqueName:
		return dir, opaque
	case strings.HasPrefix(base, metaPrefix), base == whiteoutPrefix:
		return "", nothing
	case !strings.HasPrefix(base, whiteoutPrefix):
		return "", file
	case dir == "":
		return base[len(whiteoutPrefix):], gone
	}
	return dir + "/" + base[len(whiteoutPrefix):], gone
}

// quote is what a stranger has named, on one line: as it is, or as a Go string
// where it has control characters or is no UTF-8.
func quote(s string) string {
	if s != "" && utf8.ValidString(s) && !strings.HasPrefix(s, `"`) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}
