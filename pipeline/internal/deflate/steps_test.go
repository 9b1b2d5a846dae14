package deflate_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

// An edit is one call of replace.
type edit struct {
	off, old int64 // old < 0: through the end
	with     []byte
}

// A step is a region and the edits that are made when it is seen.
type step struct {
	off     int64
	n       int
	settled int64
	do      []edit
}

// steps is a Patcher that does what a test lists.
type steps struct {
	list []step
	seen [][]byte
	err  error  // what the last step returns
	look func() // is called at every step
}

func (s *steps) Next() (off int64, n int, settled int64) {
	if len(s.seen) == len(s.list) {
		return 0, 0, 0
	}
	x := s.list[len(s.seen)]
	return x.off, x.n, x.settled
}

func (s *steps) Patch(region []byte, replace func(off, old int64, with []byte) error) error {
	x := s.list[len(s.seen)]
	s.seen = append(s.seen, bytes.Clone(region))
	if s.look != nil {
		s.look()
	}
	for _, e := range x.do {
		if err := replace(e.off, e.old, e.with); err != nil {
			return err
		}
	}
	if len(s.seen) == len(s.list) {
		return s.err
	}
	return nil
}

// each makes every edit in a region of its own, of the bytes that it replaces.
func each(edits ...edit) *steps {
	s := &steps{}
	for _, e := range edits {
		n := int(min(max(e.old, 1), deflate.MaxRegion))
		s.list = append(s.list, step{e.off, n, e.off, []edit{e}})
	}
	return s
}

// applied is what the edits make of plain.
func applied(plain []byte, edits ...edit) (out []byte) {
	at := int64(0)
	for _, e := range edits {
		out = append(append(out, plain[at:e.off]...), e.with...)
		if at = e.off + e.old; e.old < 0 || at > int64(len(plain)) {
			at = int64(len(plain))
		}
	}
	return append(out, plain[at:]...)
}

// edits lists all edits of the steps.
func (s *steps) edits() (all []edit) {
	for _, x := range s.list {
		all = append(all, x.do...)
	}
	return all
}

// again is the same Patcher before it was used.
func (s *steps) again() *steps { return &steps{list: s.list, err: s.err} }

// mustTranscode has in edited, compares with the model, and with what comes out
// when in is read in pieces.
func mustTranscode(t testing.TB, in, plain []byte, s *steps) ([]byte, deflate.Result) {
	t.Helper()
	var out bytes.Buffer
	res, err := deflate.Transcode(&out, bytes.NewReader(in), s, deflate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := same(out.Bytes(), applied(plain, s.edits()...), res, plain); err != nil {
		t.Fatal(err)
	}
	if !res.Changed && !bytes.Equal(out.Bytes(), in) {
		t.Fatal("nothing changed, and other bytes")
	}
	for seed := range uint64(2) {
		var again bytes.Buffer
		c := chunks{bytes.NewReader(in), rand.New(rand.NewPCG(seed, 1))}
		if _, err := deflate.Transcode(&again, c, s.again(), deflate.Options{}); err != nil {
			t.Fatalf("read in pieces: %v", err)
		}
		if !bytes.Equal(out.Bytes(), again.Bytes()) {
			t.Fatal("other bytes when the input comes in pieces")
		}
	}
	return out.Bytes(), res
}
