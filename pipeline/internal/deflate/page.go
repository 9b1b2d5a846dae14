package deflate

import "math/bits"

const (
	// pageChunk is how many plain bytes are decoded between two slides.
	pageChunk = 128 << 10
	// pageHold is how many plain bytes may be undecided: an open region and a
	// stored block, with what is between them.
	pageHold = 256 << 10
	pageSize = window + pageHold + pageChunk
	// pageRoom is left free at the end: a token is decoded without looking.
	pageRoom = 2 * maxLength
)

// page is the window over the old plain stream, with the edits in it: the bytes
// themselves stay as they were, since matches still read them.
type page struct {
	base0 int64  // of the window's start in the plain stream
	edits []byte // the new bytes, in the grains that are marked
	marks []uint8
	hasher
	hashed int // up to where the bytes went to the hasher

	editBefore, editAt int64 // where the last two ranges of edited bytes began
}

func (p *page) init() {
	p.edits = newWindow()
	p.marks = make([]uint8, (pageSize+outPad)/perByte+dirtyPad)
	p.start()
}

// patch puts new bytes in the place of those at an index of the window.
func (t *transcoder) patch(at int, with []byte) {
	changed := false
	for i, c := range with {
		j := at + i
		if c == t.out[j] {
			continue
		}
		changed = true
		if bit := uint8(1) << (uint(j/grain) & 7); t.marks[j>>perByteLg]&bit == 0 {
			t.marks[j>>perByteLg] |= bit
			copy(t.edits[j&^(grain-1):][:grain], t.out[j&^(grain-1):])
		}
		t.edits[j] = c
		t.dirtyEnd = max(t.dirtyEnd, (j|(grain-1))+1)
	}
	if changed {
		t.editBefore, t.editAt = t.editAt, t.base0+int64(at)
	}
}

// byteAt is the new byte at an index.
func (t *transcoder) byteAt(i int) byte {
	if t.marks[i>>perByteLg]>>(uint(i/grain)&7)&1 != 0 {
		return t.edits[i]
	}
	return t.out[i]
}

// eachEdit shows the edited grains between two indexes.
func (t *transcoder) eachEdit(from, to int, show func(lo, hi int)) {
	if from >= t.dirtyEnd {
		return
	}
	for i := from >> perByteLg; i<<perByteLg < to; i++ {
		for m := t.marks[i]; m != 0; m &= m - 1 {
			j := i<<perByteLg + bits.TrailingZeros8(m)*grain
			if lo, hi := max(j, from), min(j+grain, to); lo < hi {
				show(lo, hi)
			}
		}
	}
}

// room makes room for a token. The window slides when it has a chunk to give,
// and is longer than that only while much is undecided.
func (t *transcoder) room() error {
	if t.op < window+pageChunk-pageRoom && t.cuts.unhashed <= maxInsert {
		return nil
	}
	decided := int(min(t.plain(), t.settled, t.queue.oldest(), t.held, t.span.oldest()) - t.base0)
	if keep := (decided - window) &^ (perByte - 1); keep >= pageChunk/2 || t.cuts.behind(t.base0+int64(decided)) {
		return t.slide(decided, max(0, keep))
	}
	return nil
}

// slide hands what is decided to the hasher and moves the window on by keep.
func (t *transcoder) slide(decided, keep int) error {
	if t.plain() > t.opt.Limit {
		return ErrLimit
	}
	next := t.buffer()
	n := copy(next, t.out[keep:t.op])
	t.hashTo(decided, false)
	t.giveBack(t.out)
	t.out = next
	if t.dirtyEnd > keep {
		copy(t.edits, t.edits[keep:min(t.op, t.dirtyEnd)])
		k := copy(t.marks, t.marks[keep>>perByteLg:(t.op+perByte-1)>>perByteLg])
		clear(t.marks[k:])
	} else {
		clear(t.marks)
	}
	t.op = n
	t.hashed -= keep
	t.start = max(0, t.start-keep)
	t.dirtyEnd = max(0, t.dirtyEnd-keep)
	t.base0 += int64(keep)
	t.cuts.prune(t.base0)
	return nil
}
