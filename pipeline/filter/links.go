package filter

import "github.com/occystrap/occystrap/pipeline/tarstream"

// links follows, through one layer, which removed files the hard links after
// them mean. It remembers removed entries and promoted links only.
//
// However long its name is, a removed entry costs a key and a pointer in gone:
// 24 bytes, 30 to 60 with the room that a map leaves. Removed links to a file
// that stays cost its name (at most maxPath), once for all of them. A promoted
// link costs its name.
type links struct {
	patterns *globs
	gone     map[key]*file   // nil until a link asks
	heirs    map[key][]*file // by the heir's place
}

// A file is a removed entry that hard links may point to, under all its
// removed names.
type file struct {
	heir string // the name that links to it are pointed to; "" for none yet
}

func newLinks(g *globs) *links {
	return &links{patterns: g, gone: map[key]*file{}, heirs: map[key][]*file{}}
}

// removed is told of an entry that was not passed on.
func (l *links) removed(h *tarstream.Header) {
	switch h.Type {
	case tarstream.TypeDir: // nothing can be a hard link to it
		return
	case tarstream.TypeLink:
		f := l.target(h.Linkname)
		if f == nil {
			f = l.stayed(h.Linkname)
		}
		l.gone[keyOf(place(h.Name))] = f
	default:
		l.gone[keyOf(place(h.Name))] = nil
	}
}

// stayed is a file of which another name is removed.
func (l *links) stayed(name string) *file {
	if fs := l.heirs[keyOf(place(name))]; len(fs) > 0 {
		return fs[0]
	}
	f := &file{}
	l.inherit(f, name)
	return f
}

// target returns the removed file that a link leads to; nil when the target
// stays.
func (l *links) target(name string) *file {
	k := keyOf(place(name))
	f, ok := l.gone[k]
	if f != nil || !ok && !l.patterns.removesTarget(name) {
		return f
	}
	f = &file{} // here or, if it was never seen, in a layer below
	l.gone[k] = f
	return f
}

// inherit makes name stand for f from now on, unless no extractor gets to it:
// then each link to f becomes a file.
func (l *links) inherit(f *file, name string) {
	if len(name) > maxPath {
		return
	}
	f.heir = name
	k := keyOf(place(name))
	l.heirs[k] = append(l.heirs[k], f)
}

// stays is told of an entry that was passed on: what had its name before is
// that no more.
func (l *links) stays(h *tarstream.Header) {
	if len(l.gone) == 0 {
		return
	}
	k := keyOf(place(h.Name))
	delete(l.gone, k)
	for _, f := range l.heirs[k] {
		f.heir = ""
	}
	delete(l.heirs, k)
}

// removesTarget says whether a link's target that this layer does not hold is
// removed from the layers below. Nothing can link to a whiteout there.
func (g *globs) removesTarget(name string) bool {
	if _, _, ok := whiteout(place(name)); ok {
		return false
	}
	return g.matchName(name)
}
