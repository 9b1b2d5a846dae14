package filter

import "github.com/occystrap/occystrap/pipeline/tarstream"

// links follows, through one layer, which removed files the hard links after
// them mean. It remembers removed names and promoted links only.
type links struct {
	patterns *globs
	gone     map[string]*file   // by place; nil until a link asks
	heirs    map[string][]*file // by the heir's place
}

// A file is a removed entry that hard links may point to, under all its
// removed names.
type file struct {
	heir string // the name that links to it are pointed to; "" for none yet
}

func newLinks(g *globs) *links {
	return &links{patterns: g, gone: map[string]*file{}, heirs: map[string][]*file{}}
}

// removed is told of an entry that was not passed on.
func (l *links) removed(h *tarstream.Header) {
	switch h.Type {
	case tarstream.TypeDir: // nothing can be a hard link to it
		return
	case tarstream.TypeLink:
		f := l.target(h.Linkname)
		if f == nil { // another name of a file that stays
			f = &file{}
			l.inherit(f, h.Linkname)
		}
		l.gone[place(h.Name)] = f
	default:
		l.gone[place(h.Name)] = nil
	}
}

// target returns the removed file that a link leads to; nil when the target
// stays.
func (l *links) target(name string) *file {
	at := place(name)
	f, ok := l.gone[at]
	if f != nil || !ok && !l.patterns.removesTarget(name) {
		return f
	}
	f = &file{} // here or, if it was never seen, in a layer below
	l.gone[at] = f
	return f
}

// inherit makes name stand for f from now on.
func (l *links) inherit(f *file, name string) {
	f.heir = name
	at := place(name)
	l.heirs[at] = append(l.heirs[at], f)
}

// stays is told of an entry that was passed on: what had its name before is
// that no more.
func (l *links) stays(h *tarstream.Header) {
	if len(l.gone) == 0 {
		return
	}
	at := place(h.Name)
	delete(l.gone, at)
	for _, f := range l.heirs[at] {
		f.heir = ""
	}
	delete(l.heirs, at)
}

// removesTarget says whether a link's target that this layer does not hold is
// removed from the layers below. Nothing can link to a whiteout there.
func (g *globs) removesTarget(name string) bool {
	if _, _, ok := whiteout(tidy(name)); ok {
		return false
	}
	return g.match(tidy(name)) || g.match(place(name))
}
