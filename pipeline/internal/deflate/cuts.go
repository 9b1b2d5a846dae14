package deflate

// maxInsert bounds the new bytes that are held in memory until their place is
// reached, and those that are until they are hashed.
const maxInsert = 1 << 20

// A cut is a place where the new plain stream departs from the old one: n old
// bytes are left out from off on, and with stands in their place.
type cut struct {
	off, n int64
	with   []byte
	shift  int64 // new offset minus old offset, behind the cut

	written, hashed bool // with was
}

func (c *cut) end() int64 { return c.off + c.n }

// cuts are those that are still of interest: to come, or close enough for a
// match to reach back over.
type cuts struct {
	list     []cut
	replaced int64 // offset up to which the patcher has replaced bytes
	first    int64 // shift before the first of list
	held     int   // bytes to insert that were not written
	unhashed int   // that were not hashed

	at    int   // the first that was not passed by what was written
	now   int64 // shift there
	large int64 // where the last one ended that was large
	hash  int   // the first that was not passed by what was hashed
}

// add adds a cut behind all others.
func (s *cuts) add(off, n int64, with []byte) error {
	if n == 0 && len(with) == 0 {
		return nil
	}
	s.held += len(with)
	s.unhashed += len(with)
	if s.held > maxInsert {
		return fallback("much is inserted in one place")
	}
	shift := s.first
	if last := len(s.list) - 1; last >= 0 {
		l := &s.list[last]
		shift = l.shift
		grows := last >= s.at && last >= s.hash && l.end() == off && (l.n == 0 || len(with) == 0)
		if grows && !l.written && !l.hashed {
			l.n += n
			l.with = append(l.with, with...)
			l.shift += int64(len(with)) - n
			return nil
		}
	}
	s.list = append(s.list, cut{off: off, n: n, with: append([]byte(nil), with...), shift: shift + int64(len(with)) - n})
	return nil
}

// around looks at an offset: whether it is in what is left out, until where that
// reaches or the next cut is, and where the last cut before it ended.
func (s *cuts) around(off int64) (inside bool, until, last int64) {
	until = forever
	for i := len(s.list) - 1; i >= 0; i-- {
		c := &s.list[i]
		switch {
		case c.off > off:
			until = c.off
		case c.end() > off:
			return true, c.end(), off
		default:
			return false, until, c.end()
		}
	}
	return false, until, 0
}

// source says how far the bytes at an offset were moved, and until where the
// bytes behind it were moved as far. False: they were left out.
func (s *cuts) source(off int64) (shift, until int64, ok bool) {
	until = forever
	for i := len(s.list) - 1; i >= 0; i-- {
		c := &s.list[i]
		switch {
		case c.off > off:
			until = c.off
		case c.end() > off:
			return 0, 0, false
		default:
			return c.shift, until, true
		}
	}
	return s.first, until, true
}

// behind says whether much was inserted before an offset and not hashed.
func (s *cuts) behind(off int64) bool {
	return s.unhashed-s.held > maxInsert && s.hash < len(s.list) && !s.list[s.hash].hashed && s.list[s.hash].off < off
}

// release forgets new bytes that are done with.
func (c *cut) release() {
	if c.written && c.hashed {
		c.with = nil
	}
}

// prune forgets cuts that end before an offset and are done with.
func (s *cuts) prune(before int64) {
	n := 0
	for n < min(s.at, s.hash) && s.list[n].end() <= before {
		s.first = s.list[n].shift
		n++
	}
	if n > 0 {
		s.list = s.list[:copy(s.list, s.list[n:])]
		s.at -= n
		s.hash -= n
	}
}

// next is the first cut that what was written has not passed.
func (s *cuts) next() *cut {
	if s.at == len(s.list) {
		return nil
	}
	return &s.list[s.at]
}

// moved is the new offset of an old one that what was written has reached.
func (s *cuts) moved(off int64) int64 {
	if c := s.next(); c != nil && c.off <= off {
		return c.end() + c.shift // its bytes have been written
	}
	return off + s.now
}
