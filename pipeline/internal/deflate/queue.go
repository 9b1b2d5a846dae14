package deflate

const (
	// maxItems and maxOpenBits bound what waits for a decision. An open region
	// of MaxRegion bytes has at most as many tokens; only a stream made for it
	// has more.
	maxItems    = 256 << 10
	maxOpenBits = 8 * (2 << 20)
	// maxParts bounds what waits besides tokens: blocks and members, which are
	// kept with their codes and headers, however few bits and bytes they have.
	maxParts = 4 << 10
)

// An item is a part of the old stream that waits until it is known what becomes
// of it.
type item struct {
	kind       itemKind
	token      token
	block      *block
	start, end int64 // bits of the stream
	pos, n     int64 // plain bytes that it makes
	member     *member
}

type itemKind uint8

const (
	aToken  itemKind = iota
	aStored          // the whole content of a stored block
	anEnd            // a block's end
	aHead            // a member's header
	aTail            // a member's trailer
)

// A member is what was read of one.
type member struct {
	head      []byte
	sum, size uint32
	pos       int64 // where it starts in the old plain stream
}

// A block is what was read of one. It can be opened in the output at any time,
// again and again, since its header is kept.
type block struct {
	kind       uint8
	final      bool
	start      int64 // bit of the stream
	header     []byte
	headerBits int
	lengths    lengths
	words      words
	worded     bool
}

// write opens the block, and says that it is not the last one.
func (b *block) write(w *bitWriter) {
	b.header[0] &^= 1
	w.copyBits(b.header, 0, b.headerBits)
}

// lens are the lengths of the block's codes.
func (b *block) lens() *lengths {
	if b.kind == fixed {
		return fixedLengths
	}
	return &b.lengths
}

// codes are the block's codes as they are written.
func (b *block) codes() (*lengths, *words) {
	if b.kind == fixed {
		return fixedLengths, fixedWords
	}
	if !b.worded {
		b.words.set(&b.lengths)
		b.worded = true
	}
	return &b.lengths, &b.words
}

// queue holds items in the order of the stream.
type queue struct {
	items []item
	head  int
	parts int // of the items, that are no tokens
	free  []*block
}

func (q *queue) empty() bool { return q.head == len(q.items) }

// oldest is the plain offset of the first item, or forever.
func (q *queue) oldest() int64 {
	if q.empty() {
		return forever
	}
	return q.items[q.head].pos
}

func (q *queue) push(it item) error {
	q.items = append(q.items, it)
	if it.kind != aToken {
		q.parts++
	}
	first := &q.items[q.head]
	if len(q.items)-q.head > maxItems || q.parts > maxParts || it.end-first.start > maxOpenBits || it.pos+it.n-first.pos > pageHold-MaxRegion {
		return fallback("too much of it is undecided at once")
	}
	return nil
}

// newBlock is a block that nobody refers to any more, or a new one.
func (q *queue) newBlock(kind uint8, final bool, start int64) *block {
	b := &block{}
	if n := len(q.free); n > 0 {
		b, q.free = q.free[n-1], q.free[:n-1]
	}
	b.kind, b.final, b.start, b.worded = kind, final, start, false
	return b
}

// put writes an item if it is decided, else lets it wait.
func (t *transcoder) enqueue(it item) error {
	if t.queue.empty() && t.decided(&it) {
		return t.write(&it)
	}
	return t.queue.push(it)
}

// decided says whether nothing can happen to an item any more. New bytes may
// still be put in front of what starts where the decision ends; they must not
// come behind the trailer that they belong before.
func (t *transcoder) decided(it *item) bool {
	if it.kind == aTail {
		return it.pos < t.settled
	}
	return it.pos+it.n <= t.settled
}

// drain writes the items that are decided.
func (t *transcoder) drain() error {
	q := &t.queue
	for !q.empty() && t.decided(&q.items[q.head]) {
		it := &q.items[q.head]
		if err := t.write(it); err != nil {
			return err
		}
		if it.kind != aToken {
			q.parts--
		}
		q.head++
	}
	switch {
	case q.empty():
		q.items, q.head = q.items[:0], 0
	case q.head > len(q.items)/2:
		q.items = q.items[:copy(q.items, q.items[q.head:])]
		q.head = 0
	}
	return nil
}

// write says what becomes of an item.
func (t *transcoder) write(it *item) error {
	switch it.kind {
	case aToken:
		return t.writeToken(it)
	case aStored:
		return t.writeStored(it)
	case anEnd:
		return t.writeEnd(it)
	case aHead:
		return t.writeHead(it)
	case aTail:
	}
	return t.writeTail(it)
}
