// Package layerpath knows what the names in layers mean: which place a name leads
// to, and what a whiteout deletes.
package layerpath

import (
	"path"
	"strings"
)

// Of is the path where an extractor puts a name: two names with the same place are
// one file. The root is "".
func Of(name string) string {
	if p := path.Clean(name); p[0] != '/' && p[0] != '.' {
		return p
	}
	return path.Clean("/" + name)[1:] // cannot leave the root
}

// Parent is the directory that a place is in; "" is the root.
func Parent(p string) string { return p[:max(0, strings.LastIndexByte(p, '/'))] }

// Base is the last element of a place.
func Base(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// How layers say that something is gone: image-spec, layer.md, "Whiteouts".
const (
	// WhiteoutPrefix stands before the name that is hidden; by itself it names
	// nothing.
	WhiteoutPrefix = ".wh."
	// MetaPrefix is that of AUFS's own files, which never belong to an image.
	MetaPrefix = ".wh..wh."
	// OpaqueName hides what its directory has in layers below.
	OpaqueName = ".wh..wh..opq"
)

// A Hiding is what a name hides of the layers below.
type Hiding int

// What a name can hide.
const (
	HidesNothing Hiding = iota // it is a name like others
	Void                       // it is AUFS's own, or a whiteout of nothing: no part of the image
	HidesPlace                 // a place, with all below it
	HidesContent               // what a directory holds
)

// Whiteout says what a place hides, if it is not that of a directory or hard link:
// a place or, with HidesContent, a directory's content.
func Whiteout(at string) (hidden string, what Hiding) {
	dir, base := Parent(at), Base(at)
	switch {
	case base == OpaqueName:
		return dir, HidesContent
	case strings.HasPrefix(base, MetaPrefix), base == WhiteoutPrefix:
		return "", Void
	case !strings.HasPrefix(base, WhiteoutPrefix):
		return "", HidesNothing
	case dir == "":
		return base[len(WhiteoutPrefix):], HidesPlace
	}
	return dir + "/" + base[len(WhiteoutPrefix):], HidesPlace
}

// Marked says whether a place is a whiteout, or lies below where one would be: no
// file of an image is called so.
func Marked(at string) bool {
	return strings.HasPrefix(at, WhiteoutPrefix) || strings.Contains(at, "/"+WhiteoutPrefix)
}
