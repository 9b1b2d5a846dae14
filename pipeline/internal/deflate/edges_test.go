package deflate_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestAllDeletedIsOneEmptyMember(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("some text "), 100)
	for name, in := range map[string][]byte{"one": stdGzip(plain, 6), "stored": stdGzip(plain, 0), "two": append(kGzip(plain[:400], 6), kGzip(plain[400:], 6)...)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _ := mustTranscode(t, in, plain, each(edit{0, -1, nil}))
			if n := bytes.Count(out, []byte{0x1f, 0x8b, 8}); n != 1 {
				t.Errorf("%d headers", n)
			}
		})
	}
}

func TestReplacementReachesBeyondItsRegion(t *testing.T) {
	t.Parallel()
	plain := makeTar(rand.New(rand.NewPCG(3, 3)), 100<<10)
	for name, in := range map[string][]byte{"matches": kGzip(plain, 6), "stored": stdGzip(plain, 0)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for off := int64(1000); off < 1100; off += 7 {
				for _, more := range []int64{1, 5, 9, 100, 50000} {
					e := edit{off, 3 + more, bytes.Repeat([]byte("#"), int(3+more))}
					mustTranscode(t, in, plain, &steps{list: []step{{off, 3, off, []edit{e}}}})
				}
			}
		})
	}
}

func TestPatcherMayReplaceWhatIsNotThere(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("some text "), 100)
	for _, n := range []int64{5, 50, 100000} {
		e := edit{995, n, bytes.Repeat([]byte("#"), int(n))}
		mustTranscode(t, stdGzip(plain, 6), plain, &steps{list: []step{{5000, 10, 995, []edit{e}}}})
	}
}

func TestDeletionOfNothingAtTheEndChangesNothing(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("some text "), 100)
	in := stdGzip(plain, 6)
	if _, res := mustTranscode(t, in, plain, each(edit{1000, -1, nil})); res.Changed {
		t.Error("it is said to have changed")
	}
}

func TestDeletionAtMemberLeavesTheOneBefore(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("some text "), 100)
	one, two := kGzip(plain[:500], 6), kGzip(plain[500:], 6)
	out, _ := mustTranscode(t, append(bytes.Clone(one), two...), plain, each(edit{500, 10, nil}))
	if !bytes.HasPrefix(out, one) {
		t.Error("the first member is another one")
	}
}

func TestInsertionAtTheEnd(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("some text "), 100)
	for _, c := range compressors() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if in := c.make(t, plain); in != nil {
				mustTranscode(t, in, plain, each(edit{1000, 0, []byte("and more")}))
			}
		})
	}
}
