package deflate

// A span is a run of bytes whose tokens do not hold any more, in one block and
// between two cuts. They are written anew together, with the words that the
// block has.
type span struct {
	block  *block
	pos    int64 // old offset
	n      int
	pieces []spanPiece
	tokens []token
}

// A spanPiece is what one old token made.
type spanPiece struct{ n, distance int } // distance 0: a literal

// oldest is the old offset where the span begins, or forever.
func (s *span) oldest() int64 {
	if s.block == nil {
		return forever
	}
	return s.pos
}

// maxSpan bounds a span; a longer one is written in pieces.
const maxSpan = 1 << 10

// rewrite adds bytes of an old token to the span.
func (t *transcoder) rewrite(b *block, pos int64, n int, tk token) error {
	if err := t.touch(b); err != nil {
		return err
	}
	s := &t.span
	if s.block != nil && (s.block != b || s.pos+int64(s.n) != pos || s.n > maxSpan) {
		if err := t.writeSpan(); err != nil {
			return err
		}
	}
	if s.block == nil {
		s.block, s.pos, s.n, s.pieces = b, pos, 0, s.pieces[:0]
	}
	d := 0
	if tk.length != 0 {
		d = tk.distance()
	}
	s.n += n
	s.pieces = append(s.pieces, spanPiece{n, d})
	return nil
}

func (t *transcoder) flushSpan() error {
	if t.span.block == nil {
		return nil
	}
	return t.writeSpan()
}

// writeSpan chooses tokens for the span and writes them. Where a byte has no
// word in the block, all go into a block with fixed codes.
func (t *transcoder) writeSpan() error {
	s := &t.span
	b := s.block
	s.block = nil
	l, c := b.codes()
	has := t.choose(b.lens())
	t.stats.Tokens += len(s.tokens)
	if !has {
		t.stats.Foreign++
		if err := t.closeBlock(); err != nil {
			return err
		}
		l, c = fixedLengths, fixedWords
		t.w.bits(fixed<<1, 3)
	} else if t.open != b {
		if err := t.openBlock(b); err != nil {
			return err
		}
	}
	t.copyTo(t.to)
	for _, x := range s.tokens {
		t.w.token(x, l, c)
	}
	if !has {
		t.w.endBlock(l, c)
	}
	return t.w.err
}

// choose fills s.tokens, and says whether the block has words for all of them.
// A match is taken where it saves bits: at the old token's distance, at that of
// the same field in the header before this one, of one byte or, behind a cut,
// where the same bytes stand.
func (t *transcoder) choose(l *lengths) (has bool) {
	s := &t.span
	s.tokens = s.tokens[:0]
	has = true
	at := int(s.pos - t.base0)
	end, piece, pieceEnd := at+s.n, 0, at+s.pieces[0].n
	header := int(t.editAt - t.editBefore)
	for at < end {
		for at >= pieceEnd {
			piece++
			pieceEnd += s.pieces[piece].n
		}
		var best token
		gain := 0
		for i, d := range [...]int{s.pieces[piece].distance, header, 1} {
			if d <= 0 || i == 1 && t.editBefore == 0 {
				continue
			}
			if x, g := t.match(l, at, end, d); g > gain {
				best, gain = x, g
			}
		}
		if best.size() < s.pieces[piece].n {
			if x, g := t.matchFound(l, at, end); g > gain {
				best, gain = x, g
			}
		}
		if gain == 0 {
			c := t.byteAt(at)
			best = token{value: uint16(c)}
			has = has && l.lit[c] != 0
		}
		s.tokens = append(s.tokens, best)
		at += best.size()
	}
	return has
}

// match is the best match at an index of the window with the bytes that stood d
// before it in the old stream, and the bits that it saves.
func (t *transcoder) match(l *lengths, at, end, d int) (best token, gain int) {
	const noWord = 1000 // bits: worth any match
	from := at - d
	if d > window || t.base0+int64(from) < t.member.pos {
		return best, 0
	}
	shift, until, ok := t.cuts.source(t.base0 + int64(from))
	distance := d + int(t.cuts.now-shift)
	if !ok || distance < 1 || distance > window || l.dist[distSymbol(distance)] == 0 {
		return best, 0
	}
	most := int(min(int64(end-at), maxLength, until-t.base0-int64(from)))
	literals := 0
	for n := 0; n < most; {
		c := t.byteAt(at + n)
		if c != t.byteAt(from+n) {
			break
		}
		if w := int(l.lit[c]); w != 0 {
			literals += w
		} else {
			literals += noWord
		}
		n++
		if n < 3 {
			continue
		}
		if bits, ok := l.cost(n, distance); ok && literals-bits > gain {
			best, gain = token{length: uint16(n), value: uint16(distance - 1)}, literals-bits
		}
	}
	return best, gain
}
