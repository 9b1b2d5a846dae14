package filter

import (
	"crypto/sha256"
	"strings"

	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
)

// maxPath is PATH_MAX of Linux. No extractor gets to a longer path, so what
// has one is not followed: it would only cost memory.
const maxPath = 4096

// tidy is the form of a name that patterns are matched against: without the
// slash that marks a directory and without a leading "./".
func tidy(name string) string {
	return strings.TrimPrefix(strings.TrimRight(name, "/"), "./")
}

// place is the path where an extractor puts a name or looks for a link name,
// whichever way it is written: two names with the same place are one file. The
// root is "".
func place(name string) string { return layerpath.Of(name) }

// parentOf is the directory that a place is in; "" is the root.
func parentOf(p string) string { return layerpath.Parent(p) }

// baseOf is the last element of a place.
func baseOf(p string) string { return layerpath.Base(p) }

func join(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}

// A key stands for a place where very many may have to be remembered: half of
// its SHA-256, for which nobody finds two places by chance and, at the price
// of 2^64 tries, an attacker spoils no layer but their own.
type key [sha256.Size / 2]byte

func keyOf(place string) key {
	sum := sha256.Sum256([]byte(place))
	return key(sum[:len(key{})])
}

// keys is a set of places.
type keys map[key]struct{}

func (s keys) has(k key) bool {
	_, ok := s[k]
	return ok
}

// paths is a set of few places.
type paths map[string]struct{}

func (s paths) has(p string) bool {
	_, ok := s[p]
	return ok
}
