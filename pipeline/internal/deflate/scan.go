package deflate

// load makes n bytes of input available. What waits to be copied verbatim is
// copied before the input moves.
func (t *transcoder) load(n int) error {
	if t.eof || t.end-(t.bit()>>3) >= n {
		return nil
	}
	keep := t.keep()
	if t.w.err != nil {
		return t.w.err
	}
	return t.need(n, keep)
}

// keep is the first byte of the stream that is still needed.
func (t *transcoder) keep() int64 {
	t.flushVerbatim()
	k := min(t.pos(), t.unwritten())
	if !t.queue.empty() {
		k = min(k, t.queue.items[t.queue.head].start)
	}
	return k >> 3
}

// readMember reads one member; false is the end of the stream.
func (t *transcoder) readMember(first bool) (more bool, err error) {
	if err := t.load(memberUsual); err != nil {
		return false, err
	}
	start := t.pos()
	h, err := t.memberHeader(first, t.keep())
	if h == nil || err != nil {
		return false, err
	}
	t.stats.Members++
	t.start = t.op
	m := &member{head: append([]byte(nil), h...), pos: t.plain()}
	if err := t.enqueue(item{kind: aHead, member: m, start: start, end: t.pos(), pos: m.pos}); err != nil {
		return false, err
	}
	for final := false; !final; {
		if final, err = t.readBlock(); err != nil {
			return false, err
		}
	}
	if t.plain() > t.opt.Limit {
		return false, ErrLimit
	}
	if err := t.load(memberTrailer + 8); err != nil {
		return false, err
	}
	start = t.pos()
	if m.sum, m.size, err = t.trailer(t.keep()); err != nil {
		return false, err
	}
	if m.size != uint32(t.plain()-m.pos) {
		return false, corrupt(t.offset()-memberTrailer, "the length of the plain bytes")
	}
	return true, t.enqueue(item{kind: aTail, member: m, start: start, end: t.pos(), pos: t.plain()})
}

// readBlock reads one block.
func (t *transcoder) readBlock() (final bool, err error) {
	if err := t.load(headerRoom); err != nil {
		return false, err
	}
	from := t.bit()
	start := t.pos()
	kind, final, err := t.blockStart()
	if err != nil {
		return false, err
	}
	t.stats.Blocks++
	b := t.queue.newBlock(kind, final, start)
	t.block = b
	if kind == stored {
		return final, t.readStored(b)
	}
	t.tab = fixedTables
	if kind == dynamic {
		if err := t.codes(&b.lengths); err != nil {
			return false, err
		}
		t.tab = &t.tabs
		if !t.tabs.build(&b.lengths) {
			return false, corrupt(t.offset(), "the codes of a block")
		}
	}
	b.headerBits = t.bit() - from
	b.header = extractBits(b.header, t.in, from, t.bit())
	return final, t.readCoded(b)
}

// readStored reads a stored block. It is one item: its length stands before it.
func (t *transcoder) readStored(b *block) error {
	left, err := t.storedLength()
	if err != nil {
		return err
	}
	it := item{kind: aStored, block: b, start: b.start, pos: t.plain(), n: int64(left)}
	t.held = it.pos
	for left > 0 {
		if err := t.room(); err != nil {
			return err
		}
		if err := t.load(1); err != nil {
			return err
		}
		i := t.bit() >> 3
		n := min(left, t.end-i, pageSize-t.op, MaxRegion)
		if n <= 0 {
			return t.truncated()
		}
		copy(t.out[t.op:], t.in[i:i+n])
		t.op += n
		left -= n
		t.seek((i + n) * 8)
		if err := t.regions(); err != nil {
			return err
		}
	}
	it.end = t.pos()
	err = t.enqueue(it)
	t.held = forever
	return err
}

// readCoded reads the tokens of a block.
func (t *transcoder) readCoded(b *block) error {
	for {
		if err := t.room(); err != nil {
			return err
		}
		if err := t.load(fastNeed); err != nil {
			return err
		}
		if limit, inside, last := t.fastLimit(); t.op < limit {
			ended, err := t.readFast(b, limit, inside, last)
			if ended || err != nil {
				return err
			}
			if !t.eof && t.ip >= t.inLimit {
				continue
			}
		}
		if ended, err := t.readOne(b); ended || err != nil {
			return err
		}
	}
}

// fastLimit says how far tokens can be decoded without a look at each: to where
// the patcher may still edit, or a cut begins or ends. Inside says that it goes
// through what is left out; last is where the last cut ended.
func (t *transcoder) fastLimit() (limit int, inside bool, last int64) {
	const overshoot = 3 // literals that the hot loop may go past the limit
	inside, until, last := t.cuts.around(t.plain())
	until = min(until, t.settled) - overshoot - t.base0
	return int(min(until, window+pageChunk-pageRoom/2)), inside, last
}

// readFast reads tokens that stay as they are, or all go. Ended: so has the
// block.
func (t *transcoder) readFast(b *block, limit int, inside bool, last int64) (ended bool, err error) {
	start, pos := t.pos(), t.plain()
	if inside {
		dirty := t.dirtyEnd
		t.cutEnd, t.dirtyEnd = 0, 0
		defer func() { t.dirtyEnd = dirty }()
	} else {
		t.cutEnd = max(0, int(last-t.base0))
	}
	why := t.fast(limit)
	end := t.pos()
	var endBits int64
	switch why {
	case atFault:
		return false, t.fault()
	case atEnd:
		endBits = int64(b.lens().lit[endOfBlock])
	case atLimit, atInput, atSpot:
	}
	if t.overrun() {
		return false, t.truncated()
	}
	if inside {
		err = t.skip(b, pos)
	} else if end-endBits > start {
		err = t.writeRun(b, start, end-endBits, pos)
	}
	if err != nil {
		return false, err
	}
	if why == atEnd {
		return true, t.enqueue(item{kind: anEnd, block: b, start: end - endBits, end: end, pos: t.plain()})
	}
	return false, nil
}

// readOne reads one token and looks at it.
func (t *transcoder) readOne(b *block) (ended bool, err error) {
	it := item{kind: aToken, block: b, start: t.pos(), pos: t.plain()}
	tk, why := t.token()
	it.end, it.token, it.n = t.pos(), tk, int64(tk.size())
	switch {
	case t.overrun():
		return false, t.truncated()
	case why == atEnd:
		it.kind, it.n = anEnd, 0
		return true, t.enqueue(it)
	case why != atLimit || !t.put(tk):
		return false, t.fault()
	}
	if err := t.enqueue(it); err != nil {
		return false, err
	}
	return false, t.regions()
}

func (t *transcoder) fault() error {
	if t.overrun() {
		return t.truncated()
	}
	return corrupt(t.offset(), "compressed data")
}

func (t *transcoder) truncated() error { return truncated(t.base + int64(t.end)) }
