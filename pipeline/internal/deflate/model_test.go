package deflate_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	kgzip "github.com/klauspost/compress/gzip"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

// script is a Patcher that edits at random, the same way for the same seed, and
// keeps what the new stream must be.
type script struct {
	r        *rand.Rand
	off      int64
	n        int
	settled  int64
	gap, cap int // how far apart regions are, and how long
	kinds    int // of edits: 1 patches only, 2 deletions too, 3 insertions too
	left     int

	old  []byte
	want []byte
	at   int64 // of old that is in want
}

func newScript(seed uint64, old []byte) *script {
	r := rand.New(rand.NewPCG(seed, seed>>3))
	s := &script{r: r, old: old, kinds: 1 + r.IntN(4)}
	s.gap = []int{1, 10, 300, 3000, 50000, 400000}[r.IntN(6)]
	s.cap = []int{1, 40, 512, 700, 20000}[r.IntN(5)]
	s.left = 1 + r.IntN(3000)
	s.advance(0)
	return s
}

func (s *script) advance(from int64) {
	s.settled = from
	s.off = from + int64(s.r.IntN(s.gap))
	if s.r.IntN(4) > 0 {
		s.settled = s.off
	} else if s.r.IntN(3) > 0 || s.off > from+30000 {
		s.settled = from + int64(s.r.IntN(int(s.off-from)+1))
		s.settled = max(s.settled, s.off-30000)
	}
	s.n = 1 + s.r.IntN(s.cap)
	if s.left--; s.left <= 0 {
		s.n = 0
	}
}

func (s *script) Next() (int64, int, int64) { return s.off, s.n, s.settled }

var errModel = errors.New("the region is not what the old stream has")

func (s *script) Patch(region []byte, replace func(off, old int64, with []byte) error) error {
	have := int(max(0, min(int64(s.n), int64(len(s.old))-s.off)))
	if len(region) != have || have > 0 && !bytes.Equal(region, s.old[s.off:s.off+int64(have)]) {
		return errModel
	}
	next := s.off + int64(len(region))
	if have == s.n {
		from := s.settled
		for range s.r.IntN(4) {
			e := from + int64(s.r.IntN(int(next-from)+1))
			n, with := s.edit(e, next)
			to := e + n
			if n < 0 {
				to = int64(len(s.old))
			}
			s.want = append(append(s.want, s.old[s.at:min(e, int64(len(s.old)))]...), with...)
			s.at = min(to, int64(len(s.old)))
			if err := replace(e, n, with); err != nil {
				return err
			}
			from = to
			if to >= next {
				next = to
				break
			}
		}
	}
	s.advance(max(next, s.at))
	return nil
}

// edit makes one up for the old bytes from e to at least end.
func (s *script) edit(e, end int64) (n int64, with []byte) {
	room := int(end - e)
	switch k := s.r.IntN(s.kinds); {
	case k == 0 && room > 0: // a patch
		n = 1 + int64(s.r.IntN(min(room, 600)))
		with = bytes.Clone(s.old[e : e+n])
		for range 1 + s.r.IntN(20) {
			with[s.r.IntN(len(with))] = byte(s.r.IntN(256)) & []byte{0xff, 0x37, 0}[s.r.IntN(3)]
		}
	case k == 1 && room > 0: // a deletion, perhaps beyond the region
		n = 1 + int64(s.r.IntN(room))
		if s.r.IntN(3) == 0 {
			n = int64(room + s.r.IntN(100000))
			n = min(n, int64(len(s.old))-e)
		}
	case k == 2: // an insertion
		with = s.bytes(s.r.IntN([]int{8, 600, 6000}[s.r.IntN(3)]))
	case k == 3 && room > 0: // anything
		n = int64(s.r.IntN(room + 1))
		with = s.bytes(s.r.IntN(1000))
		if s.r.IntN(500) == 0 {
			return -1, with
		}
	}
	return n, with
}

func (s *script) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdef\x00\x00\x00\x00"[s.r.IntN(20)]
	}
	if len(s.old) > n && s.r.IntN(2) == 0 {
		copy(b, s.old[s.r.IntN(len(s.old)-n):])
	}
	return b
}

// model is the new plain stream.
func (s *script) model() []byte { return append(s.want, s.old[s.at:]...) }

// chunks reads in pieces of random sizes.
type chunks struct {
	r io.Reader
	n *rand.Rand
}

func (c chunks) Read(p []byte) (int, error) {
	return c.r.Read(p[:min(len(p), 1+c.n.IntN(1<<c.n.IntN(20)))])
}

// check transcodes in with the edits of a seed and compares with the model. It
// says whether it came to that.
func check(t testing.TB, name string, in, plain []byte, seed uint64) bool {
	t.Helper()
	var out bytes.Buffer
	s := newScript(seed, plain)
	res, err := deflate.Transcode(&out, bytes.NewReader(in), s, deflate.Options{})
	var again bytes.Buffer
	c := chunks{bytes.NewReader(in), rand.New(rand.NewPCG(seed, 1))}
	_, aerr := deflate.Transcode(&again, c, newScript(seed, plain), deflate.Options{})
	if errors.Is(err, deflate.ErrFallback) {
		if aerr == nil || aerr.Error() != err.Error() {
			t.Fatalf("%s seed %d: %v; in pieces: %v", name, seed, err, aerr)
		}
		return false
	}
	if err != nil || aerr != nil {
		t.Fatalf("%s seed %d: %v; in pieces: %v", name, seed, err, aerr)
	}
	want := s.model()
	if err := same(out.Bytes(), want, res, plain); err != nil {
		t.Fatalf("%s seed %d: %v", name, seed, err)
	}
	if !res.Changed && !bytes.Equal(out.Bytes(), in) {
		t.Fatalf("%s seed %d: nothing changed, and other bytes", name, seed)
	}
	if !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Fatalf("%s seed %d: other bytes when the input comes in pieces", name, seed)
	}
	return true
}

// same reads out with other inflaters and compares with want and the result.
func same(out, want []byte, res deflate.Result, plain []byte) error {
	z, err := stdgzip.NewReader(bytes.NewReader(out))
	if err != nil {
		return err
	}
	got, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("compress/gzip reads %d bytes (%w), want %d, first difference at %d", len(got), err, len(want), difference(got, want))
	}
	k, err := kgzip.NewReader(bytes.NewReader(out))
	if err != nil {
		return err
	}
	if got, err = io.ReadAll(k); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("klauspost reads %d bytes (%w)", len(got), err)
	}
	if got, err = io.ReadAll(deflate.NewReader(bytes.NewReader(out))); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("our own Reader reads %d bytes (%w)", len(got), err)
	}
	switch {
	case res.New.Digest != sha256.Sum256(want) || res.New.Size != int64(len(want)):
		return fmt.Errorf("the new plain stream is said to have %d bytes and another digest", res.New.Size)
	case res.Old.Digest != sha256.Sum256(plain) || res.Old.Size != int64(len(plain)):
		return fmt.Errorf("the old plain stream is said to have %d bytes and another digest", res.Old.Size)
	case res.Digest != sha256.Sum256(out) || res.Size != int64(len(out)):
		return fmt.Errorf("the result is said to have %d bytes and another digest", res.Size)
	}
	return nil
}

func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
