package zstdframe

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
)

// A step is a region that a script wants to see, and its edits upon it.
type step struct {
	off     int64
	n       int
	settled int64
	edits   []edit
}

// A script is a Patcher that knows what it wants beforehand.
type script struct {
	steps []step
	i     int
	plain []byte // if set, what the regions are compared with
}

func (s *script) Next() (int64, int, int64) {
	if s.i == len(s.steps) {
		return 0, 0, 0
	}
	st := s.steps[s.i]
	return st.off, st.n, st.settled
}

func (s *script) Patch(region []byte, replace func(off, old int64, with []byte) error) error {
	st := s.steps[s.i]
	s.i++
	if s.plain != nil {
		from := min(st.off, int64(len(s.plain)))
		if want := s.plain[from:min(st.off+int64(st.n), int64(len(s.plain)))]; !bytes.Equal(want, region) {
			return fmt.Errorf("region %d+%d is %.40q, not %.40q", st.off, st.n, region, want)
		}
	}
	for _, c := range st.edits {
		with := bytes.Clone(c.with)
		if err := replace(c.off, c.old, with); err != nil {
			return err
		}
		clear(with) // it is only ours during the call
	}
	return nil
}

// edits are those that were made: behind the end of a stream, two regions are
// asked for.
func (s *script) edits() (all []edit) {
	for _, st := range s.steps[:s.i] {
		all = append(all, st.edits...)
	}
	return all
}

// model is what a stream becomes.
func model(plain []byte, edits []edit) []byte {
	var out []byte
	at := int64(0)
	size := int64(len(plain))
	for _, c := range edits {
		out = append(append(out, plain[at:c.off]...), c.with...)
		at = min(c.end(), size)
	}
	return append(out, plain[at:]...)
}

// randomScript makes edits that like the borders of frames.
func randomScript(r *rand.Rand, s *stream) *script {
	size := int64(len(s.plain))
	borders := []int64{0, size}
	for _, f := range s.frames {
		borders = append(borders, f.start, f.end)
	}
	between := func(lo, hi int64) int64 { // at a border if there is one
		if b := borders[r.IntN(len(borders))]; r.IntN(2) == 0 && lo <= b && b <= hi {
			return b
		}
		return lo + r.Int64N(hi-lo+1)
	}
	var offs []int64
	for range r.IntN(6) {
		offs = append(offs, between(0, size+10))
	}
	slices.Sort(offs)
	p := &script{plain: s.plain}
	floor, settled := int64(0), int64(0)
	for i, off := range offs {
		next := size + 10
		if i+1 < len(offs) {
			next = offs[i+1]
		}
		n := min(1+r.Int64N(600), next-off)
		if n == 0 {
			continue
		}
		settled = between(settled, off)
		st := step{off: off, n: int(n), settled: settled}
		floor = max(floor, settled)
		for range r.IntN(4) {
			if floor > size || floor > next {
				break
			}
			c := edit{off: between(floor, min(next, size)), with: text(r, r.IntN(2)*r.IntN(900))}
			if r.IntN(3) > 0 {
				c.old = between(c.off, min(next, size)) - c.off
			}
			if i == len(offs)-1 && r.IntN(6) == 0 {
				c.old = -1
			}
			st.edits = append(st.edits, c)
			floor = c.end()
		}
		p.steps = append(p.steps, st)
	}
	return p
}
