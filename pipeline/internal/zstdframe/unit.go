package zstdframe

// A frame of the old stream.
type frame struct {
	skippable bool
	sized     bool // declares its content size: copied or compressed anew whole
	summed    bool // has a content checksum

	changed bool  // what is not copied yet is compressed anew
	copied  bool  // stored bytes of it were written
	anew    bool  // plain bytes of it were compressed anew
	sum     xxh64 // of what was copied, if it is not sized
}

// A verdict is what becomes of a unit.
type verdict int

const (
	undecided verdict = iota
	copying
	changing
)

// A unit is what is copied or compressed anew as one: a frame that declares
// its size, one block of a frame that does not, a skippable frame.
type unit struct {
	f           *frame
	start, end  int64 // of its plain bytes
	first, last bool  // in its frame
	stored      []byte
	complete    bool // no stored bytes will follow; so it is when end is reached
	verdict     verdict
}

// unitCost is what a unit takes besides its bytes, for the hostile stream that
// has empty blocks only.
const unitCost = 128

func (u *unit) empty() bool { return u.start == u.end }

func (u *unit) cost() int { return unitCost + len(u.stored) }

// judge decides what becomes of the unit in front, if nothing before y will be
// replaced any more.
//
// A skippable frame is kept if nothing changed before it. What is known to be
// put there speaks of the stored bytes, and comes last: the table of contents,
// tar-split data and footer of zstd:chunked (containers/storage,
// pkg/chunked/internal/minimal/compression.go), and the seek table, whose magic
// number must be the very last bytes (facebook/zstd, contrib/seekable_format).
// So all of that goes with the first change, wherever it is, and none of it has
// been written by then.
func (e *editor) judge(u *unit, y int64) verdict {
	switch {
	case u.f.skippable:
		switch {
		case e.changed && u.start >= e.first:
			return changing
		case y > u.start:
			return copying
		}
		return undecided
	case u.f.changed:
		return changing
	case e.skip > u.start && (u.first || !u.empty()):
		return changing // some of it is deleted
	case u.empty() && u.first && u.last && e.out.encoding:
		return changing // an empty frame would only end the new one
	case u.end <= y:
		return copying
	}
	return undecided
}

// decide acts upon a verdict.
func (e *editor) decide(u *unit, v verdict) error {
	e.waiting -= u.cost()
	u.verdict = v
	stored := u.stored
	u.stored = nil
	if v == changing {
		u.f.changed = true
		return nil
	}
	u.f.copied = true
	return e.out.copy(u.f, stored)
}

// pop takes the unit in front away and counts its frame.
func (e *editor) pop() {
	u := e.queue[0]
	e.queue[0] = nil
	e.queue = e.queue[1:]
	if !u.last {
		return
	}
	if e.out.partial == u.f && !u.f.changed {
		e.out.partial = nil
	}
	switch f := u.f; {
	case !f.changed:
		e.res.Copied++
	case f.copied || f.anew:
		e.res.Recompressed++
	default:
		e.res.Dropped++
	}
}
