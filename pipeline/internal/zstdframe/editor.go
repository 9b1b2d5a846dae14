package zstdframe

import (
	"bytes"
	"io"
	"math"
)

// forever is an offset that no stream has.
const forever = math.MaxInt64

// An editor brings together what the Patcher wants and what the stream has.
// All that happens depends on the bytes of the stream alone: bytes are looked
// at in the order of the stream, and every decision falls as early as what is
// known allows.
//
//	          base            pos
//	done ──────┤ held, queue ├──── to come
type editor struct {
	p     Patcher
	out   *output
	hash  io.Writer // of the old plain bytes
	limit int64     // of them
	hold  int       // maxHeld, but in tests
	res   Result

	pos     int64   // how much of the old plain stream came
	base    int64   // how much of it was copied, compressed anew or deleted
	held    []byte  // [base, pos)
	queue   []*unit // of held; the last one may still grow
	waiting int     // the cost of the undecided units

	off     int64 // the region that is wanted next
	n       int   // 0: none
	region  []byte
	settled int64  // nothing before it will be replaced
	floor   int64  // where the next edit may be
	skip    int64  // [base, skip) is deleted
	edits   []edit // beyond pos, in order
	changed bool
	first   int64 // offset of the first change
	ended   bool  // pos is the end of the stream
	err     error // of a call of replace
}

// push takes the next unit; its stored bytes are the caller's.
func (e *editor) push(u *unit) error {
	e.queue = append(e.queue, u)
	e.waiting += u.cost()
	if err := e.settle(); err != nil {
		return err
	}
	if u.verdict == undecided {
		u.stored = bytes.Clone(u.stored)
	}
	return e.bound()
}

// more takes stored bytes of the last unit.
func (e *editor) more(u *unit, stored []byte) error {
	switch u.verdict {
	case copying:
		return e.out.copy(u.f, stored)
	case changing:
		return nil
	case undecided:
	}
	u.stored = append(u.stored, stored...)
	e.waiting += len(stored)
	return e.bound()
}

// take takes plain bytes of the last unit.
func (e *editor) take(p []byte) error {
	if e.limit > 0 && int64(len(p)) > e.limit-e.pos {
		return ErrLimit
	}
	if _, err := e.hash.Write(p); err != nil {
		return err
	}
	for len(p) > 0 {
		n := e.step(len(p))
		e.held = append(e.held, p[:n]...)
		e.pos += int64(n)
		if err := e.look(p[:n]); err != nil {
			return err
		}
		if err := e.applyDue(); err != nil {
			return err
		}
		if err := e.settle(); err != nil {
			return err
		}
		p = p[n:]
	}
	if err := e.settle(); err != nil {
		return err
	}
	return e.bound()
}

// step is how far to go before there may be something to decide.
func (e *editor) step(n int) int {
	to := e.pos + int64(n)
	if len(e.edits) > 0 {
		to = min(to, e.edits[0].off)
	}
	switch {
	case e.n == 0:
	case e.pos < e.off:
		to = min(to, e.off)
	default:
		to = min(to, e.off+int64(e.n))
	}
	return int(to - e.pos)
}

// settle settles what the Patcher and the edits that wait allow.
func (e *editor) settle() error {
	y := e.settled
	if len(e.edits) > 0 {
		y = min(y, e.edits[0].off)
	}
	return e.settleTo(y)
}

// settleTo decides and writes all before y that came: nothing of it will be
// replaced any more.
func (e *editor) settleTo(y int64) error {
	defer e.trim(e.base)
	for len(e.queue) > 0 {
		u := e.queue[0]
		if u.verdict == undecided {
			v := e.judge(u, y)
			if v == undecided {
				return nil
			}
			if err := e.decide(u, v); err != nil {
				return err
			}
		}
		if err := e.write(u, y); err != nil {
			return err
		}
		if !u.complete || e.base < u.end {
			return nil
		}
		e.pop()
	}
	return nil
}

// write writes what came of a unit: all of one that is copied, up to y of one
// that changes.
func (e *editor) write(u *unit, y int64) error {
	to := min(u.end, e.pos)
	if u.verdict == changing {
		to = min(to, y)
	}
	if to <= e.base {
		return nil
	}
	plain := e.ahead()[:to-e.base]
	from := e.base
	e.base = to
	if u.verdict == copying {
		return e.out.copied(u.f, plain)
	}
	if gone := min(max(e.skip-from, 0), int64(len(plain))); gone > 0 {
		plain = plain[gone:]
	}
	u.f.anew = u.f.anew || len(plain) > 0
	return e.out.anew(plain)
}

// ahead is what is held from base on, also while settleTo moves base.
func (e *editor) ahead() []byte { return e.held[int64(len(e.held))-(e.pos-e.base):] }

// trim lets go of what was held before base, if base has moved on from old.
func (e *editor) trim(old int64) {
	if e.base > old {
		e.held = e.held[:copy(e.held, e.ahead())]
	}
}

// bound keeps what waits within maxHeld. Once something has changed, what
// may yet turn out unchanged is compressed anew all the same; before, that
// would make other bytes of a stream in which nothing changes.
func (e *editor) bound() error {
	if len(e.held)+e.waiting <= e.hold {
		return nil
	}
	if !e.changed {
		return ErrFallback
	}
	for _, u := range e.queue {
		if !u.f.skippable && u.verdict == undecided {
			u.f.changed = true
		}
	}
	if err := e.settle(); err != nil {
		return err
	}
	for _, u := range e.queue { // behind one that is not settled
		if u.f.changed && u.verdict == undecided {
			if err := e.decide(u, changing); err != nil {
				return err
			}
		}
	}
	if len(e.held)+e.waiting > e.hold {
		return ErrFallback
	}
	return nil
}
