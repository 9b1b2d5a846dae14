package tarstream

import (
	"bytes"
	"errors"
	"io"
)

// maxPiece is how much of a foreign entry is inserted at once.
const maxPiece = 32 << 10

// splicer is the Handler at the end of an Editor's chain. Where a Writer writes,
// it tells the difference to what was read.
type splicer struct {
	ed    *Editor
	watch watch
	at    int64     // before it all is told
	rest  io.Reader // what follows the entries, as the chain got it
	ended bool
}

var _ Handler = (*splicer)(nil)

// Entry tells what was edited, or inserts an entry of another stream.
func (p *splicer) Entry(e *Entry) error {
	b, err := p.watch.entry(e)
	switch {
	case err != nil:
		return err
	case p.ended:
		return p.ed.s.needContent() // it would come after the tail
	case e.s != p.ed.s:
		w := inserter{p}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return e.copyTo(w)
	case e.offset != p.at:
		return p.ed.s.needContent() // it was passed on before
	}
	p.at = e.next()
	if e.edit == nil || bytes.Equal(b, e.raw) {
		return nil
	}
	return p.replace(e.offset, int64(len(e.raw)), b)
}

// inserter inserts where the splicer is.
type inserter struct{ *splicer }

// Write inserts b in pieces.
func (p inserter) Write(b []byte) (n int, err error) {
	for n < len(b) {
		piece := b[n:min(n+maxPiece, len(b))]
		if err := p.replace(p.at, 0, piece); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// passed is told that the chain is done with what stands before an offset: what
// it did not pass on goes.
func (p *splicer) passed(off int64) error {
	from := p.at
	p.at = off
	if from < off {
		return p.replace(from, off-from, nil)
	}
	return nil
}

// replace makes sure that the error counts even where a handler drops it.
func (p *splicer) replace(off, old int64, with []byte) error {
	err := p.ed.s.stuck
	if err == nil {
		err = p.ed.replace(off, old, with)
		p.ed.s.stuck = err
	}
	return err
}

// End compares what is to follow the entries with what follows them.
func (p *splicer) End(rest io.Reader) error {
	p.watch.end(rest)
	if p.ended {
		return p.ed.s.needContent()
	}
	p.ended = true
	src := p.ed.src
	if rest != p.rest {
		return p.compare(rest)
	}
	// What a handler read of it beforehand does not come out. What is left stays,
	// and nobody has to look at it.
	from := p.at
	p.at += int64(len(src.kept))
	src.have, src.kept, src.end = nil, nil, true
	if from < p.at {
		return p.replace(from, p.at-from, nil)
	}
	return nil
}

// compare reads a reader that a handler made of what follows the entries, which
// has to yield a beginning of that.
func (p *splicer) compare(rest io.Reader) error {
	src := p.ed.src
	b := make([]byte, tailRegion)
	for {
		n, err := rest.Read(b)
		if !bytes.HasPrefix(src.kept, b[:n]) {
			return p.ed.s.needContent()
		}
		src.kept = src.kept[:copy(src.kept, src.kept[n:])]
		p.at += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	return p.cut()
}

// cut drops what has not come out of the tail, if anything is left of it.
func (p *splicer) cut() error {
	src := p.ed.src
	if src.end && len(src.have) == 0 && len(src.kept) == 0 {
		return nil
	}
	src.have, src.kept, src.end = nil, nil, true
	return p.replace(p.at, -1, nil)
}

// finish is told that the chain is done. What follows the entries goes where it
// was not passed on.
func (p *splicer) finish() error {
	if p.ended {
		return p.ed.s.stuck
	}
	return p.cut()
}
