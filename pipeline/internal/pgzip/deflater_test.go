package pgzip

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// noise is n bytes of which some compress well and some do not.
func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		switch k := r.IntN(3); {
		case k == 0 || len(b) < 100:
			for range 1 + r.IntN(3000) {
				b = append(b, byte(r.Uint32())>>r.IntN(8))
			}
		case k == 1:
			at := r.IntN(len(b))
			b = append(b, b[at:min(len(b), at+r.IntN(5000))]...)
		default:
			b = append(b, bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(2000))...)
		}
	}
	return b[:n]
}

// fresh is what a deflater that was never used makes of p.
func fresh(t *testing.T, level int, dict, p []byte, last bool) []byte {
	d := &deflater{level: level}
	if err := d.deflate(dict, p, last); err != nil {
		t.Fatal(err)
	}
	return d.out
}

// Pooled deflaters must not show what they did before, or the bytes of a layer
// would depend on its neighbours.
func TestHistoryOfADeflaterDoesNotShow(t *testing.T) {
	t.Parallel()
	for level := 1; level <= 9; level++ {
		r := rand.New(rand.NewPCG(uint64(level), 9))
		used := &deflater{level: level}
		for range 30 {
			all := noise(r, dictSize+r.IntN(1<<r.IntN(18)))
			dict, p, last := all[:dictSize*r.IntN(2)], all[dictSize:], r.IntN(2) == 0
			if err := used.deflate(dict, p, last); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(used.out, fresh(t, level, dict, p, last)) {
				t.Fatalf("level %d: %d bytes come out otherwise", level, len(p))
			}
		}
	}
}

// The tables of levels 1 to 6 count positions in 31 bits over the whole life of
// a compressor; it must not show when they start again.
func TestTwoGigabytesOfHistoryDoNotShow(t *testing.T) {
	t.Parallel()
	const step, limit = dictSize, 1 << 31 // each reset goes on by at least a window
	r := rand.New(rand.NewPCG(1, 9))
	all := noise(r, dictSize+2*block+1000)
	for level := 1; level <= 6; level++ {
		want := fresh(t, level, all[:dictSize], all[dictSize:], true)
		used := &deflater{level: level}
		for before := 20; before < 50; before += 10 { // so that it falls upon different places
			if err := used.deflate(nil, all, false); err != nil {
				t.Fatal(err)
			}
			for range limit/step - before {
				used.z.Reset(used)
			}
			for range 8 {
				if err := used.deflate(all[:dictSize], all[dictSize:], true); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(used.out, want) {
					t.Fatalf("level %d: other bytes", level)
				}
			}
		}
	}
}

func TestDictionaryIsUsed(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 9))
	dict := make([]byte, dictSize)
	for i := range dict {
		dict[i] = byte(r.Uint32())
	}
	for level := 1; level <= 9; level++ {
		if n := len(fresh(t, level, dict, dict[1000:], true)); n > dictSize/10 {
			t.Errorf("level %d: %d bytes for a repetition", level, n)
		}
	}
}
