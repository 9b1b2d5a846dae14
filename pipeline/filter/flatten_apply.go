package filter

import (
	"errors"
	"fmt"
	"math"

	"github.com/occystrap/occystrap/pipeline/internal/layerpath"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// apply puts a layer upon the tree: first its whiteouts take from what lower layers
// left, then its entries come. So a whiteout never hides what its own layer brings,
// wherever it stands.
func (t *tree) apply(headers *tarstream.Headers) error {
	if err := headers.Run(visitor(t.whiteout)); err != nil {
		return err
	}
	t.starts = append(t.starts, t.brings.n)
	return headers.Run(visitor(func(e *tarstream.Entry) error {
		if err := t.entry(e); err != nil {
			return fmt.Errorf("entry %q: %w", e.Header().Name, err)
		}
		return nil
	}))
}

// whiteout is the first pass over a layer.
func (t *tree) whiteout(e *tarstream.Entry) error {
	at := place(e.Header().Name)
	hidden, opaque, ok := whiteout(at)
	if !ok || layerpath.Marked(parentOf(at)) {
		return nil
	}
	dir := hidden
	if !opaque {
		dir = parentOf(hidden)
	}
	p, err := t.walk(dir, false)
	if err != nil {
		return nil //nolint:nilerr // there is nothing to hide
	}
	if opaque {
		t.empty(p)
		return nil
	}
	if p = t.find(p, baseOf(hidden)); p != none {
		t.remove(p)
	}
	return nil
}

// entry is the second pass over a layer.
func (t *tree) entry(e *tarstream.Entry) error {
	h := e.Header()
	at := place(h.Name)
	switch {
	case layerpath.Marked(at), isTOC(h): // a table of contents would lie
		return nil
	case len(at) > maxPath, len(h.Linkname) > maxPath:
		return errors.New("its name or its target is longer than any system takes")
	case t.brings.n >= none-1, len(t.names) > math.MaxUint32/namesPage-2:
		return errors.New("there are too many entries to merge")
	case at == "" && h.Type != tarstream.TypeDir:
		return errors.New("it would replace the top directory; the layer is damaged or hostile")
	case h.Type == tarstream.TypeSymlink && h.Linkname == "":
		return errors.New("a symbolic link to nothing; the layer is damaged")
	case h.Type == tarstream.TypeLink:
		return t.hardLink(e.Offset(), at, place(h.Linkname))
	}
	p := t.top
	if at != "" {
		dir, err := t.walk(parentOf(at), true)
		if err == nil && t.places.at(dir).depth >= maxDepth {
			err = errDeep
		}
		if err != nil {
			return err
		}
		p = t.find(dir, baseOf(at))
		if p != none && (h.Type != tarstream.TypeDir || !t.isDir(p)) {
			t.remove(p)
			p = none
		}
		if p == none {
			n := uint32(none)
			if h.Type != tarstream.TypeDir {
				n = t.newInode(h)
			}
			p = t.add(dir, baseOf(at), n)
		}
	}
	return t.bring(e.Offset(), p)
}

// bring notes that the entry at an offset says what a place is.
func (t *tree) bring(offset int64, p uint32) error {
	block := offset / tarBlock
	if block > math.MaxUint32 {
		return errors.New("its layer is too large to be merged")
	}
	t.places.at(p).bring = t.brings.n
	t.brings.add(bring{uint32(block), p})
	return nil
}

// hardLink gives a file another name. The last part of the target is not followed.
func (t *tree) hardLink(offset int64, at, target string) error {
	if at == target {
		return nil
	}
	there, err := t.walk(parentOf(target), false)
	if err != nil {
		return fmt.Errorf("the target %q of a hard link: %w", target, err)
	}
	dir, err := t.walk(parentOf(at), true)
	if err != nil {
		return err
	}
	if dir == there && baseOf(at) == baseOf(target) {
		return nil // the same by way of a symbolic link
	}
	from := t.find(there, baseOf(target))
	if from != none && t.isDir(from) {
		return fmt.Errorf("a hard link to the directory %q; the layer is damaged or hostile", target)
	}
	if p := t.find(dir, baseOf(at)); p != none {
		t.remove(p)
	}
	if from == none || !t.alive(from) {
		return fmt.Errorf("the target %q of a hard link: %w", target, errNotThere)
	}
	return t.bring(offset, t.add(dir, baseOf(at), t.places.at(from).inode))
}
