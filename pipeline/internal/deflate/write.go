package deflate

// reach writes the new bytes that stand before an old offset, and follows the
// shift between old and new offsets. b is the block of what comes next.
func (t *transcoder) reach(b *block, pos int64) error {
	s := &t.cuts
	for ; s.at < len(s.list) && s.list[s.at].off <= pos; s.at++ {
		c := &s.list[s.at]
		if b == nil && c.off == pos && len(c.with) == 0 {
			return nil // nothing of this member goes
		}
		if err := t.flushSpan(); err != nil {
			return err
		}
		if err := t.touch(b); err != nil {
			return err
		}
		if !c.written {
			c.written = true
			if err := t.insert(c.with); err != nil {
				return err
			}
			s.held -= len(c.with)
			c.release()
		}
		if c.end() > pos {
			return nil
		}
		s.now = c.shift
		if c.n >= largeCut {
			s.large = c.end()
		}
	}
	return nil
}

// writeHead starts a member.
func (t *transcoder) writeHead(it *item) error {
	t.member, t.touched, t.owed, t.kept = it.member, false, false, 0
	t.from, t.to, t.rawStart = it.start, it.end, it.start
	t.rawBlock, t.open, t.final = nil, nil, false
	t.newStart = t.cuts.moved(it.pos)
	return nil
}

// writeRun copies tokens of a block that all stay.
func (t *transcoder) writeRun(b *block, start, end, pos int64) error {
	if err := t.reach(b, pos); err != nil {
		return err
	}
	return t.verbatim(b, start, end, 1)
}

// skip leaves out tokens of a block.
func (t *transcoder) skip(b *block, pos int64) error {
	if err := t.reach(b, pos); err != nil {
		return err
	}
	return t.touch(b)
}

// writeEnd ends a block: where it is not open, none of its tokens is left.
func (t *transcoder) writeEnd(it *item) error {
	if err := t.flushSpan(); err != nil {
		return err
	}
	if !t.touched || t.open == it.block {
		if err := t.verbatim(it.block, it.start, it.end, 0); err != nil {
			return err
		}
	}
	if t.touched && t.open == it.block {
		t.copyTo(t.to)
		t.open = nil
	}
	t.done(it.block)
	return nil
}

// done lets a block be used again. The last one of a member may be looked at
// until the member ends.
func (t *transcoder) done(b *block) {
	if !b.final {
		t.rawBlock = nil
		t.queue.free = append(t.queue.free, b)
	}
}

// writeTail ends a member.
func (t *transcoder) writeTail(it *item) error {
	if err := t.reach(nil, it.pos); err != nil {
		return err
	}
	if err := t.flushSpan(); err != nil {
		return err
	}
	t.hashTo(int(it.pos-t.base0), true)
	s := t.checksums()
	if m := it.member; s.old != m.sum {
		return corrupt(it.end>>3-memberTrailer, "the checksum of the plain bytes")
	}
	switch {
	case !t.touched && t.edited && t.kept == 0 && it.end-t.rawStart < openEdge && isFooter(it.member.head):
		t.from = t.to // it says where the table of contents was
	case !t.touched:
		t.copyTo(it.end)
	case t.owed:
		t.spare, t.owed = it.member.head, false
	default:
		return t.endMember(s.now, uint32(t.cuts.moved(it.pos)-t.newStart))
	}
	t.to = t.from
	return nil
}

// writeToken writes what is left of a token.
func (t *transcoder) writeToken(it *item) error {
	lo, hi := it.pos, it.pos+it.n
	for lo < hi {
		if err := t.reach(it.block, lo); err != nil {
			return err
		}
		next := t.cuts.next()
		switch {
		case next != nil && next.off <= lo: // in what is left out
			if err := t.touch(it.block); err != nil {
				return err
			}
			lo = min(hi, next.end())
		case lo == it.pos && (next == nil || next.off >= hi):
			return t.keepToken(it)
		default:
			to := hi
			if next != nil {
				to = min(hi, next.off)
			}
			if err := t.rewrite(it.block, lo, int(to-lo), it.token); err != nil {
				return err
			}
			lo = to
		}
	}
	return nil
}

// keepToken writes a token of which every byte is kept: as it is, if it still
// makes these bytes.
func (t *transcoder) keepToken(it *item) error {
	if t.holds(it) {
		return t.verbatim(it.block, it.start, it.end, it.n)
	}
	return t.rewrite(it.block, it.pos, int(it.n), it.token)
}

// holds says whether a token makes the bytes that the new stream has there.
func (t *transcoder) holds(it *item) bool {
	at, n := int(it.pos-t.base0), int(it.n)
	if it.token.length == 0 {
		return t.byteAt(at) == byte(it.token.value)
	}
	d := it.token.distance()
	shift, until, ok := t.cuts.source(it.pos - int64(d))
	if !ok || shift != t.cuts.now || until < it.pos-int64(d)+it.n {
		return false
	}
	if !t.touches(at, n) && !t.touches(at-d, n) {
		return true
	}
	for i := at; i < at+n; i++ {
		if t.byteAt(i) != t.byteAt(i-d) {
			return false
		}
	}
	return true
}

// writeStored writes what is left of a stored block: the very block if that is
// all of it.
func (t *transcoder) writeStored(it *item) error {
	defer t.done(it.block)
	if err := t.reach(it.block, it.pos); err != nil {
		return err
	}
	lo, hi := it.pos, it.pos+it.n
	clean := true
	t.eachEdit(int(lo-t.base0), int(hi-t.base0), func(int, int) { clean = false })
	if next := t.cuts.next(); !t.touched && clean && (next == nil || next.off >= hi) {
		return t.verbatim(it.block, it.start, it.end, it.n)
	}
	if err := t.touch(it.block); err != nil {
		return err
	}
	for lo < hi {
		if err := t.reach(it.block, lo); err != nil {
			return err
		}
		to := hi
		if next := t.cuts.next(); next != nil && next.off <= lo {
			lo = min(hi, next.end())
			continue
		} else if next != nil {
			to = min(hi, next.off)
		}
		if err := t.store(int(lo-t.base0), int(to-t.base0)); err != nil {
			return err
		}
		lo = to
	}
	return nil
}
