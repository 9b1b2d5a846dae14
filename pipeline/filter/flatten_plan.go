package filter

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A planner says of what the new layer consists: of pieces of the old ones, as
// they are, and of a few headers that had to be changed or made.
//
//	whiteouts of what the base has and the image has not
//	each entry that can be seen, in the order of the old layers, behind the
//	directories that it lies in
//	the end of a tar
type planner struct {
	*tree
	first   uint32               // the first bring of the layers that are merged
	layers  []*tarstream.Headers // to go through in order
	parents []*tarstream.Headers // to look up directories in
	out     *pieces
	inBase  []bool // base places that could be reached when the base was complete
	living  []bool // places that can be reached now
	filled  []bool // those that something lies in
}

// plan makes the pieces of the new layer.
func (p *planner) plan() error {
	p.heirs()
	if err := p.whiteouts(); err != nil {
		return err
	}
	for b := range p.brings.n {
		if err := p.brought(b); err != nil {
			return err
		}
	}
	for d := range p.places.n { // directories that no entry names
		if d >= p.base && p.isDir(d) && p.living[d] && (p.implied(d) || p.covers(d)) {
			if err := p.directory(d); err != nil {
				return err
			}
		}
	}
	p.out.made(make([]byte, 2*tarBlock))
	return p.out.err
}

// heirs gives each file to the first of its names that is left, and finds out which
// directories something lies in.
func (p *planner) heirs() {
	p.living, p.filled = p.reachable(), make([]bool, p.places.n)
	for at := range p.places.n {
		place := p.places.at(at)
		if !p.living[at] {
			continue
		}
		if place.parent != none {
			p.filled[place.parent] = true
		}
		if n := place.inode; n != none && p.inodes.at(n).heir == none {
			p.inodes.at(n).heir = at
		}
	}
}

// implied says whether a directory has to be made though no entry names it: it is
// empty, or takes the place of something of the base, such as a link that would be
// followed.
func (p *planner) implied(d uint32) bool {
	return p.places.at(d).bring == none && (!p.filled[d] || p.covers(d) || p.places.at(d).ousts)
}

// covers says whether a directory of the new layer stands where the base has
// another one, which must not be seen through it.
func (p *planner) covers(d uint32) bool { return p.places.at(d).covers }

// whiteouts hides what the base has and the image has not. A file that takes the
// place of something hides it by itself.
func (p *planner) whiteouts() error {
	for at := uint32(0); at < p.base; at++ {
		was := p.places.at(at)
		if !p.inBase[at] || p.living[at] {
			continue
		}
		now := p.top
		if was.parent != none {
			if !p.living[was.parent] {
				continue // hidden with the directory that it is in
			}
			now = p.find(was.parent, string(p.nameOf(at)))
		}
		switch {
		case now == none:
			name := join(p.path(was.parent), whiteoutPrefix+string(p.nameOf(at)))
			if err := p.made(&tar.Header{Typeflag: tar.TypeReg, Name: name}); err != nil {
				return err
			}
		case was.inode == none && p.isDir(now):
			p.places.at(now).covers = true
		case p.isDir(now):
			p.places.at(now).ousts = true
		}
	}
	if !p.places.at(p.top).covers {
		return nil
	}
	return p.opaque(p.top)
}

func (p *planner) opaque(d uint32) error {
	return p.made(&tar.Header{Typeflag: tar.TypeReg, Name: join(p.path(d), opaqueName)})
}

// made puts in an entry without content that no layer has.
func (p *planner) made(h *tar.Header) error {
	var b bytes.Buffer
	h.ModTime = time.Unix(0, 0)
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return err
	}
	p.out.made(b.Bytes())
	return p.out.err
}

// brought puts in what is left of one entry of a layer.
func (p *planner) brought(b uint32) error {
	at := p.brings.at(b).place
	place := p.places.at(at)
	if place.inode == none {
		if b == place.bring && p.living[at] {
			return p.directory(at)
		}
		return nil
	}
	n := p.inodes.at(place.inode)
	switch {
	case b == n.bring && n.heir != none && n.heir >= p.base:
		return p.file(b, n.heir)
	case b == n.bring, b != place.bring, at == n.heir, at < p.base, !p.living[at]:
		return nil
	}
	return p.link(b, at, n.heir)
}

// file puts in a file with its content, under the name that it has now.
func (p *planner) file(b, at uint32) error {
	if err := p.within(at); err != nil {
		return err
	}
	return p.piece(p.layers, b, at, func(*tarstream.Header) (string, bool) { return "", false })
}

// link puts in another name of a file.
func (p *planner) link(b, at, heir uint32) error {
	if err := p.within(at); err != nil {
		return err
	}
	target := p.path(heir)
	return p.piece(p.layers, b, at, func(h *tarstream.Header) (string, bool) {
		return target, !p.leads(place(h.Linkname), b, heir)
	})
}

// leads says whether a link's target, as it is written, is a name of the file that
// is there when the link comes.
func (p *planner) leads(target string, b, heir uint32) bool {
	dir, err := p.walk(parentOf(target), false)
	if err != nil {
		return false
	}
	q := p.find(dir, baseOf(target))
	return q != none && p.places.at(q).inode == p.places.at(heir).inode && (q == heir || p.places.at(q).bring < b) && p.path(q) == target
}

// directory puts in the entry of a directory, once.
func (p *planner) directory(at uint32) error {
	d := p.places.at(at)
	if d.done {
		return nil
	}
	d.done = true
	if err := p.within(at); err != nil {
		return err
	}
	switch b := d.bring; {
	case b == none && at != p.top && at >= p.base && p.implied(at):
		if err := p.made(&tar.Header{Typeflag: tar.TypeDir, Name: p.path(at) + "/", Mode: 0o755}); err != nil {
			return err
		}
	case b != none && b >= p.first:
		if err := p.piece(p.parents, b, at, func(*tarstream.Header) (string, bool) { return "", false }); err != nil {
			return err
		}
	}
	if at != p.top && p.covers(at) {
		return p.opaque(at)
	}
	return nil
}

// within puts in the directories that a place lies in.
func (p *planner) within(at uint32) error {
	if dir := p.places.at(at).parent; dir != none && !p.places.at(dir).done {
		return p.directory(dir)
	}
	return nil
}

// piece puts in an entry of a layer, byte for byte where its names are right.
func (p *planner) piece(from []*tarstream.Headers, b, at uint32, link func(*tarstream.Header) (target string, wrong bool)) error {
	layer, offset := p.layerOf(b), int64(p.brings.at(b).block)*tarBlock
	e, err := from[layer].At(offset)
	if err != nil {
		return fmt.Errorf("entry at byte %d of layer %d: %w", offset, layer, err)
	}
	header, content := e.Span()
	name := p.path(at)
	target, wrong := link(e.Header())
	if place(e.Header().Name) == name && !wrong {
		p.out.take(layer, offset, header+content)
		return p.out.err
	}
	h := e.Edit()
	if place(h.Name) != name {
		if h.Name = name; h.Type == tarstream.TypeDir {
			h.Name = strings.TrimSuffix(name, "/") + "/"
		}
	}
	if wrong {
		h.Linkname = target
	}
	blocks, err := e.Blocks()
	if err != nil {
		return err
	}
	p.out.made(blocks)
	p.out.take(layer, offset+header, content)
	return p.out.err
}

// baseEnds is told when the layers of the base have been applied; it is not where
// there is none.
func (p *planner) baseEnds() {
	p.base, p.first, p.inBase = p.places.n, p.brings.n, p.reachable()
}
