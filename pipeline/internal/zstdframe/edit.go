package zstdframe

import (
	"bytes"
	"errors"
	"fmt"
)

// An edit replaces old bytes from off on; a negative number, all.
type edit struct {
	off, old int64
	with     []byte
}

// end is where the edit ends.
func (c edit) end() int64 {
	if c.old < 0 || c.old > forever-c.off {
		return forever
	}
	return c.off + c.old
}

// next asks the Patcher for the next region.
func (e *editor) next() error {
	e.region = e.region[:0]
	if e.floor == forever { // deleted through the end
		e.n, e.settled = 0, forever
		return nil
	}
	off, n, settled := e.p.Next()
	switch {
	case n == 0:
		e.n, e.settled = 0, forever
		return nil
	case n < 0 || n > maxRegion || off > forever-maxRegion:
		return fmt.Errorf("%w: it wants %d bytes at %d", ErrPatcher, n, off)
	case off < e.pos || off < e.floor && !e.ended:
		return fmt.Errorf("%w: it wants offset %d, having seen up to %d and edited up to %d", ErrPatcher, off, e.pos, e.floor)
	}
	e.off, e.n = off, n
	e.settled = max(e.settled, min(settled, off))
	return nil
}

// look collects the region that is wanted; came are the bytes up to pos.
func (e *editor) look(came []byte) error {
	if e.n == 0 || e.pos <= e.off {
		return nil
	}
	e.region = append(e.region, came...)
	if len(e.region) < e.n {
		return nil
	}
	return e.patch()
}

// patch shows the Patcher its region, and asks for the next one.
func (e *editor) patch() error {
	// Where the stream ended before what was settled, its end can still change.
	e.floor = max(e.floor, min(e.settled, e.pos))
	err := e.p.Patch(e.region, e.replace)
	if e.err != nil {
		return e.err
	}
	if err != nil {
		return err
	}
	return e.next()
}

// replace takes an edit from the Patcher.
func (e *editor) replace(off, old int64, with []byte) error {
	if e.err == nil {
		e.err = e.accept(edit{off, old, with})
	}
	return e.err
}

func (e *editor) accept(c edit) error {
	if c.off < e.floor || e.ended && c.off > e.pos {
		return fmt.Errorf("%w: at %d, where %d is the first possible offset, of a stream of at least %d bytes", ErrPatcher, c.off, e.floor, e.pos)
	}
	if c.old == 0 && len(c.with) == 0 {
		return nil
	}
	if !e.changed {
		e.changed, e.first = true, c.off
	}
	e.floor = c.end()
	if c.off > e.pos {
		c.with = bytes.Clone(c.with)
		e.edits = append(e.edits, c)
		return nil
	}
	return e.apply(c)
}

// applyDue applies the edits that waited for pos.
func (e *editor) applyDue() error {
	for len(e.edits) > 0 && e.edits[0].off == e.pos {
		c := e.edits[0]
		e.edits = e.edits[1:]
		if err := e.apply(c); err != nil {
			return err
		}
	}
	return nil
}

// apply makes an edit at or before pos. Edits come in order, so all before it
// is settled.
func (e *editor) apply(c edit) error {
	if err := e.settleTo(c.off); err != nil {
		return err
	}
	switch {
	case len(e.queue) == 0:
		// Between two blocks of a frame, or between frames. What is inserted ends
		// a frame that has not ended; what is deleted ends it when it comes.
		if f := e.out.partial; f != nil && len(c.with) > 0 {
			f.changed = true
		}
	case e.queue[0].verdict == copying:
		return errors.New("zstdframe: an edit of what was copied") // a bug of ours
	default:
		u := e.queue[0] // c.off is in it
		if c.off > u.start || c.old != 0 || !u.first {
			u.f.changed = true
		}
	}
	if err := e.settleTo(c.off); err != nil {
		return err
	}
	e.skip = max(e.skip, c.end())
	return e.out.anew(c.with)
}

// end settles what is left when the stream has ended.
func (e *editor) end() error {
	e.ended = true
	if p, ok := e.p.(Ender); ok {
		p.End(e.pos)
	}
	for asked := 0; e.n != 0 && asked < 2; asked++ { // what is there, then nothing
		if err := e.patch(); err != nil {
			return err
		}
	}
	if len(e.edits) > 0 {
		return fmt.Errorf("%w: at %d of a stream of %d bytes", ErrPatcher, e.edits[0].off, e.pos)
	}
	e.n, e.settled = 0, forever
	if err := e.settle(); err != nil {
		return err
	}
	return e.out.close(e.changed)
}
