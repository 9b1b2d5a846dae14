package deflate

// A finder looks for earlier places of the same bytes where a match has lost
// its source to a large cut. It knows the 32 KiB on both sides of one, and costs
// nothing elsewhere.
type finder struct {
	last [1 << finderBits]uint32 // by hash: the last place, an old offset modulo 2³²
	prev [window]uint32          // by old offset: the place before with the same hash
	next int64                   // up to where places are known
}

const (
	finderBits  = 13
	finderLeast = 4 // bytes that are hashed
	finderTries = 16
	// largeCut is what a cut has at least that takes away whole files. Behind
	// smaller ones, a PAX header each, the header before has what was lost.
	largeCut = 2 << 10
)

func finderHash(v uint64) uint32 {
	const golden = 0x9e3779b1 // 2³² divided by the golden ratio
	return uint32(v) * golden >> (32 - finderBits)
}

// find makes the places before an index of the window known to the finder: the
// last one that may have the bytes at that index; nil where no large cut is
// close, or too few bytes are there.
func (t *transcoder) find(at, end int) *finder {
	if t.cuts.large == 0 || t.base0+int64(at)-t.cuts.large > window || end-at < finderLeast {
		return nil
	}
	if t.finder == nil {
		t.finder = &finder{}
	}
	f := t.finder
	from := max(f.next, t.base0+int64(at)-window, t.member.pos)
	to := t.base0 + int64(at)
	for from < to {
		inside, until, _ := t.cuts.around(from)
		until = min(until, to)
		for ; !inside && from < until; from++ {
			h := finderHash(load64(t.out, int(from-t.base0)))
			f.prev[from&(window-1)] = f.last[h]
			f.last[h] = uint32(from)
		}
		from = until
	}
	f.next = max(f.next, to)
	return f
}

// match is the best match with a place that the finder knows.
func (t *transcoder) matchFound(l *lengths, at, end int) (best token, gain int) {
	f := t.find(at, end)
	if f == nil {
		return best, 0
	}
	var v uint64
	for i := range finderLeast {
		v |= uint64(t.byteAt(at+i)) << (8 * i)
	}
	here := uint32(t.base0 + int64(at))
	place := f.last[finderHash(v)]
	for range finderTries {
		d := here - place
		if d == 0 || d > window {
			break
		}
		if x, g := t.match(l, at, end, int(d)); g > gain {
			best, gain = x, g
		}
		before := f.prev[place&(window-1)]
		if before-place-1 < 1<<31 { // it is not older
			break
		}
		place = before
	}
	return best, gain
}
