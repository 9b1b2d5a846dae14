package deflate

// openEdge is how many bits of a member, and of its last block, are held back
// while nothing in it was edited: then a member that comes to nothing can vanish,
// and a block can still become one that is not the last.
const openEdge = 8 * (64 << 10)

// output is the state of what is written. A member that nothing was edited in is
// copied bit by bit, from its header to its trailer. In one that was edited,
// every block is opened where the first of its tokens is written, all of them as
// blocks that are not the last; an empty one ends the member.
type output struct {
	w      bitWriter
	edited bool // something, so far

	// The member.
	member   *member
	newStart int64 // where it starts in the new plain stream
	touched  bool
	owed     bool  // its header is not written yet: perhaps there is nothing to write
	kept     int64 // plain bytes written before it was touched

	// Bits to copy: of a member that is not touched all from its start on; else
	// of the open block.
	from, to int64
	rawStart int64
	rawBlock *block // that ends before to, or that to is in

	open  *block // that tokens can be written in
	final bool   // the last block was written as such: nothing may follow it
	spare []byte // a header, for a stream of which nothing is left
}

// flushVerbatim copies what can be copied, before the input moves.
func (t *transcoder) flushVerbatim() {
	to := t.to
	if !t.touched && t.member != nil {
		switch b := t.rawBlock; {
		case t.kept == 0 && t.to-t.rawStart < openEdge:
			to = t.from
		case b != nil && b.final && b.start < t.to && t.to-b.start < openEdge:
			to = max(t.from, b.start)
		}
	}
	t.copyTo(to)
}

// copyTo copies the bits up to one.
func (t *transcoder) copyTo(to int64) {
	if t.from < to {
		base := t.base * 8
		t.w.copyBits(t.in, int(t.from-base), int(to-base))
		t.from = to
	}
}

// unwritten is the first bit that still has to be copied: of a member that is
// not touched also what was read and not written yet.
func (t *transcoder) unwritten() int64 {
	if !t.touched || t.from < t.to {
		return t.from
	}
	return forever
}

// verbatim has bits of a block copied as they are.
func (t *transcoder) verbatim(b *block, start, end int64, n int64) error {
	if t.span.block != nil {
		if err := t.writeSpan(); err != nil {
			return err
		}
	}
	if !t.touched {
		t.to, t.rawBlock = end, b
		t.kept += n
		return nil
	}
	if t.open != b {
		if err := t.openBlock(b); err != nil {
			return err
		}
	}
	if t.to != start {
		t.copyTo(t.to)
		t.from = start
	}
	t.to = end
	return nil
}

// touch goes over from copying the member to writing it, before what does not
// stay as it is: a token of block b or, where that is nil, the end of the member.
func (t *transcoder) touch(b *block) error {
	t.edited = true
	if t.touched {
		return nil
	}
	t.touched = true
	to, ended := t.to, false
	if b == nil || to <= b.start {
		b, ended = t.rawBlock, true
	}
	switch {
	case t.kept == 0 && to-t.rawStart < openEdge:
		t.owed, t.from = true, to
	case b == nil || ended && !b.final:
		t.copyTo(to)
	case b.final && to-b.start < openEdge:
		t.copyTo(b.start)
		t.reopen(b)
		t.to, t.open = to, b
		if ended {
			t.copyTo(to)
			t.open = nil
		}
	default:
		t.copyTo(to)
		t.final = b.final
		if !ended {
			t.open = b
		}
	}
	return nil
}

// reopen writes the header of a member's last block as that of another one. What
// was written of the member are the bits that were read: a stored block's length
// stays at a byte's border.
func (t *transcoder) reopen(b *block) {
	if b.kind == stored {
		t.w.bits(stored<<1, 3)
		t.from = b.start + 3
		return
	}
	b.write(&t.w)
	t.from = b.start + int64(b.headerBits)
}

// begin gets the output ready for bits of its own.
func (t *transcoder) begin() error {
	t.copyTo(t.to)
	if t.final && t.open == nil {
		return fallback("something comes after its last block")
	}
	if t.owed {
		_, _ = t.w.Write(t.member.head) // the writer keeps its error
		t.owed = false
	}
	return nil
}

// openBlock writes a block's header again, behind the end of the one that is
// open.
func (t *transcoder) openBlock(b *block) error {
	if err := t.closeBlock(); err != nil {
		return err
	}
	b.write(&t.w)
	t.open = b
	return nil
}

// closeBlock ends the block that is open, so that another can follow.
func (t *transcoder) closeBlock() error {
	if err := t.begin(); err != nil || t.open == nil {
		return err
	}
	if t.final {
		return fallback("its last block is long, and would have to be split")
	}
	t.w.endBlock(t.open.codes())
	t.open = nil
	return nil
}

// endMember writes the trailer of a member that was edited.
func (t *transcoder) endMember(sum, size uint32) error {
	if !t.final {
		if err := t.closeBlock(); err != nil {
			return err
		}
		t.w.bits(1|fixed<<1, 3+7) // the last block, empty
	}
	t.copyTo(t.to)
	t.w.align()
	t.w.uint32s(sum, size)
	return nil
}

// last ends the stream. One of which nothing is left has one empty member.
func (t *transcoder) last() error {
	if t.w.n == 0 && t.w.at == 0 && t.spare != nil {
		_, _ = t.w.Write(t.spare)
		return t.endMember(0, 0)
	}
	return nil
}
