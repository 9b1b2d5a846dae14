package filter

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// exclude removes the entries whose names match one of its patterns (see glob)
// from every layer. A name is matched whole, without a leading "./" and a
// trailing slash, as it is written and as the path where extractors put it: "x"
// removes "/x" and "y/../x" too. So "etc/motd" removes one file, "*.pyc" all
// that end so, "**/.git" and "**/.git/**" together a directory and what it
// holds: a pattern that matches a directory's own entry leaves its contents
// alone, and a directory that loses its contents stays.
//
// What the removed entries leave behind is kept whole:
//   - The first hard link to a removed file becomes that file; later ones are
//     pointed to it. The file may be in a layer below. Where no layer has it,
//     the link goes and a note says so.
//   - A whiteout goes when what it hides is removed from the layers below; its
//     own name does not matter. An opaque marker goes when all of its directory
//     does. Metadata of AUFS (.wh..wh.plnk) are names like others.
//   - A file or link that took the place of a directory of the layers below
//     becomes a whiteout, lest that come back; so it does where the layers below
//     cannot be looked at (an archive that comes as a stream, foreign layers). A
//     directory that took the place of a file has an entry and, where it goes,
//     so does the file. One without an entry, which is there only because of what
//     it holds, leaves nothing behind: no builder makes it (a replaced path is a
//     change, which a layer lists), daemons refuse to extract below a file, and a
//     whiteout after its other entries could remove them.
//   - The table of contents of an eStargz layer goes when it would lie.
type exclude struct {
	patterns *globs
	tempDir  string
	kept     kept

	recompress pipeline.Recompress
}

var _ pipeline.LayerFilter = (*exclude)(nil)

func excludeKind(d Defaults) pipeline.FilterKind {
	return pipeline.FilterKind{
		Name: "exclude",
		Help: "remove files from all layers",
		Options: []pipeline.Option{
			{Name: "pattern", Form: pipeline.List, Help: "GLOB[,GLOB…] of whole paths; * and ? match a slash too, **/ also matches nothing"},
			pipeline.RecompressOption,
		},
		New: func(o pipeline.FilterOptions) (pipeline.Filter, error) {
			g := newGlobs(o.Split("pattern"))
			if len(g.list) == 0 {
				return nil, pipeline.Usage("exclude filter needs a pattern, as in exclude:pattern=**/.git/**")
			}
			mode, err := o.Recompress()
			if err != nil {
				return nil, err
			}
			return &exclude{patterns: g, tempDir: d.TempDir, kept: kept{layers: map[digest.Digest]keys{}}, recompress: mode}, nil
		},
	}
}

// Recipe names the patterns in one order: which comes first has no effect.
func (x *exclude) Recipe() pipeline.Recipe {
	return pipeline.Recipe{Key: "exclude:pattern=" + x.patterns.key(), Below: true, Recompress: x.recompress}
}

// Layer returns the handler that removes entries from one layer.
func (x *exclude) Layer(ctx context.Context, l pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	return &excluding{
		patterns: x.patterns,
		next:     &tocGuard{next: next},
		links:    newLinks(x.patterns),
		hidden:   map[key]bool{},
		note:     l.Note,
		gather:   func() (*contents, error) { return gather(ctx, x.patterns, l, x.tempDir) },
		below:    func() (*lower, error) { return x.below(ctx, l) },
	}, nil
}
