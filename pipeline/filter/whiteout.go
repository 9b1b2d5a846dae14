package filter

import (
	"context"
	"fmt"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// How layers say that something is gone: image-spec, layer.md, "Whiteouts".
const (
	whiteoutPrefix = ".wh."
	metaPrefix     = ".wh..wh." // of AUFS: no whiteout
	opaqueName     = ".wh..wh..opq"
)

// A verdict says what becomes of an entry.
type verdict int

const (
	keeps verdict = iota
	goes
	// unsure: a whiteout hides a path that matches. Were that a directory, it
	// could hold what does not match and would come back.
	unsure
)

// judge says what the patterns do to a name, and what path a whiteout hides.
func (g *globs) judge(name string) (v verdict, hidden string) {
	name = tidy(name)
	hidden, opaque, ok := whiteout(name)
	switch {
	case !ok && g.match(name), opaque && g.removesAll(hidden):
		return goes, hidden
	case !ok, opaque, !g.match(hidden):
		return keeps, hidden
	case g.matchBelow(hidden):
		return goes, hidden
	}
	return unsure, hidden
}

// removesAll says whether a directory goes with all that it can hold. The root
// has no entry that has to go.
func (g *globs) removesAll(dir string) bool {
	return (dir == "" || g.match(dir)) && g.matchBelow(dir)
}

// whiteout takes a tidy name apart: what it hides is a path or, opaque, what a
// directory holds.
func whiteout(name string) (hidden string, opaque, ok bool) {
	dir := parentOf(name)
	base := name[strings.LastIndexByte(name, '/')+1:]
	switch {
	case base == opaqueName:
		return dir, true, true
	case strings.HasPrefix(base, metaPrefix), !strings.HasPrefix(base, whiteoutPrefix), base == whiteoutPrefix:
		return "", false, false
	}
	return join(dir, base[len(whiteoutPrefix):]), false, true
}

// paths is a set of paths.
type paths map[string]struct{}

func (s paths) has(p string) bool {
	_, ok := s[p]
	return ok
}

// parentOf is the directory that a tidy path is in; "" is the root.
func parentOf(p string) string { return p[:max(0, strings.LastIndexByte(p, '/'))] }

// keptBelow says whether a layer below holds, under a directory that matches,
// something that does not. What cannot be looked at counts as holding it: a
// whiteout too many hides nothing.
func (x *exclude) keptBelow(ctx context.Context, l pipeline.LayerInfo, path string) (bool, error) {
	if l.Role == pipeline.Unknown {
		return true, nil
	}
	for _, parent := range l.Parents {
		if !readable(parent) {
			return true, nil
		}
		kept, err := x.keptIn(ctx, l, parent)
		if err != nil {
			return false, fmt.Errorf("look for what a whiteout of %q hides: %w", path, err)
		}
		if kept.has(path) {
			return true, nil
		}
	}
	return false, nil
}

// keptIn returns the paths in a layer that match while something below them
// does not. They are found once for each layer and are mostly none.
func (x *exclude) keptIn(ctx context.Context, l pipeline.LayerInfo, parent pipeline.Layer) (paths, error) {
	x.mu.Lock()
	kept, ok := x.kept[parent.Blob.Digest]
	x.mu.Unlock()
	if ok {
		return kept, nil
	}
	kept = paths{}
	seen := "" // the directory whose ancestors were looked at last
	err := scan(plainOf(ctx, l, parent), func(e *tarstream.Entry) error {
		name := tidy(e.Header().Name)
		dir := parentOf(name)
		if v, _ := x.patterns.judge(name); dir == seen || v == goes {
			return nil
		}
		seen = dir
		for ; dir != ""; dir = parentOf(dir) {
			if x.patterns.match(dir) {
				kept[dir] = struct{}{}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.kept[parent.Blob.Digest] = kept
	return kept, nil
}
