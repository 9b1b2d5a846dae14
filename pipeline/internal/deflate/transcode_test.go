package deflate_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

// quick says that there is little time.
func quick() bool { return testing.Short() || raceDetector }

// few skips a test for which there is none, and which has nothing that the race
// detector would see.
func few(t *testing.T) {
	t.Helper()
	if quick() {
		t.Skip("-short or -race")
	}
}

func TestTranscodeIsTheModel(t *testing.T) {
	t.Parallel()
	for _, c := range compressors() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rounds, scripts, size := 10, 4, 12
			if c.slow {
				rounds, scripts, size = 2, 20, 8
			}
			if quick() {
				rounds = 2
			}
			fell := 0
			for seed := range uint64(rounds) {
				r := rand.New(rand.NewPCG(seed, 7))
				plain := makeTar(r, 1+r.IntN(1<<(8+r.IntN(size))))
				plain = plain[:min(len(plain), 1<<(size+7))]
				in := c.compress(t, plain)
				for k := range uint64(scripts) {
					if !check(t, c.name, in, plain, seed*100+k) {
						fell++
					}
				}
			}
			t.Logf("%d of %d fell back", fell, rounds*scripts)
		})
	}
}

// allStreams are those of every kind that are at hand.
func allStreams(t testing.TB) map[string][]byte {
	all := smallStreams(t)
	maps.Copy(all, streamFiles(t))
	maps.Copy(all, imageLayers(t))
	plain := makeTar(rand.New(rand.NewPCG(12, 1)), 150<<10)
	for _, c := range compressors() {
		if !c.slow {
			if in := c.make(t, plain); in != nil {
				all[c.name] = in
			}
		}
	}
	return all
}

// everywhere looks at all bytes, in regions of n, and edits none: it puts in
// their place what is there.
type everywhere struct {
	n  int
	at int64
}

func (e *everywhere) Next() (int64, int, int64) { return e.at, e.n, e.at }

func (e *everywhere) Patch(region []byte, replace func(off, old int64, with []byte) error) error {
	e.at += int64(len(region))
	return replace(e.at-int64(len(region)), int64(len(region)), region)
}

func TestUneditedStreamIsByteForByte(t *testing.T) {
	t.Parallel()
	for name, in := range allStreams(t) {
		for kind, p := range map[string]deflate.Patcher{"nothing seen": each(), "headers seen": &everywhere{n: 512}, "much seen": &everywhere{n: deflate.MaxRegion}} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				var out bytes.Buffer
				res, err := deflate.Transcode(&out, chunks{bytes.NewReader(in), rand.New(rand.NewPCG(1, 1))}, p, deflate.Options{})
				if err != nil || res.Changed || res.Old != res.New || !bytes.Equal(out.Bytes(), in) {
					t.Errorf("%v, %t", err, res.Changed)
				}
			})
		}
	}
}

func TestImageLayers(t *testing.T) {
	t.Parallel()
	for name, in := range imageLayers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, err := stdInflate(in)
			if err != nil {
				t.Fatal(err)
			}
			check(t, name, in, plain, 2)
			check(t, name, in, plain, 3)
			check(t, name, stdGzip(plain, -1), plain, 4) // as BuildKit does
		})
	}
}

// TestOtherToolsReadIt has the results read by the inflaters that clients use.
func TestOtherToolsReadIt(t *testing.T) {
	t.Parallel()
	for _, c := range compressors() {
		if c.slow {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plain := makeTar(rand.New(rand.NewPCG(2, 7)), 400<<10)
			in := c.compress(t, plain)
			for seed := range uint64(2) {
				var out bytes.Buffer
				s := newScript(seed, plain)
				if _, err := deflate.Transcode(&out, bytes.NewReader(in), s, deflate.Options{}); err != nil {
					if errors.Is(err, deflate.ErrFallback) {
						continue
					}
					t.Fatal(err)
				}
				want := s.model()
				for _, tool := range [][]string{{"gzip", "-dc"}, {"igzip", "-dc"}, {"pigz", "-dc"}} {
					if got := run(t, out.Bytes(), tool...); got != nil && !bytes.Equal(got, want) {
						t.Errorf("seed %d: %v reads %d bytes of %d", seed, tool, len(got), len(want))
					}
				}
			}
		})
	}
}

// TestSameBytesAtAnyTime is not parallel: it changes how many processors run.
func TestSameBytesAtAnyTime(t *testing.T) {
	plain := makeTar(rand.New(rand.NewPCG(11, 7)), 2<<20)
	for seed, in := range [][]byte{kGzip(plain, 6), members(plain), stdGzip(plain, 0), flushed(plain)} {
		digests := map[[32]byte]string{}
		for i := range 8 {
			before := runtime.GOMAXPROCS(1 + i%4)
			var src io.Reader = bytes.NewReader(in)
			if i%2 == 1 {
				src = chunks{src, rand.New(rand.NewPCG(uint64(i), 1))}
			}
			res, err := deflate.Transcode(io.Discard, src, newScript(uint64(seed+3), plain), deflate.Options{})
			runtime.GOMAXPROCS(before)
			digests[res.Digest] = fmt.Sprint(err)
		}
		if len(digests) != 1 {
			t.Errorf("stream %d: %v", seed, digests)
		}
	}
}

// TestEveryEditOfSmallStreams makes every single edit of streams whose blocks and
// members are a few bytes long.
func TestEveryEditOfSmallStreams(t *testing.T) {
	few(t)
	t.Parallel()
	tiny := map[string][]byte{"padded": padded(), "degenerate": degenerate(), "tiny": tinyBlocks(1)}
	for name, in := range tiny {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, err := stdInflate(in)
			if err != nil {
				t.Fatal(err)
			}
			end := int64(len(plain))
			for off := int64(0); off <= end; off++ {
				for old := int64(-1); old <= end-off; old++ {
					for _, with := range []string{"", "abcdefgh"} {
						e := edit{off, old, []byte(with)}
						for _, s := range [][]step{
							{{off, int(max(1, end-off)), off, []edit{e}}},
							{{end + 5, 9, off, []edit{e}}},
						} {
							once(t, in, plain, &steps{list: s})
						}
					}
				}
			}
		})
	}
}

// TestTwoEditsOfSmallStreams makes pairs.
func TestTwoEditsOfSmallStreams(t *testing.T) {
	t.Parallel()
	in := tinyBlocks(3)
	plain, err := stdInflate(in)
	if err != nil {
		t.Fatal(err)
	}
	end := len(plain)
	r := rand.New(rand.NewPCG(1, 1))
	rounds := 800
	if quick() {
		rounds = 100
	}
	for range rounds {
		cuts := []int{r.IntN(end + 1), r.IntN(end + 1), r.IntN(end + 1), r.IntN(end + 1)}
		slices.Sort(cuts)
		with := func() []byte { return plain[:r.IntN(4)*r.IntN(3)] }
		a := edit{int64(cuts[0]), int64(cuts[1] - cuts[0]), with()}
		b := edit{int64(cuts[2]), int64(cuts[3] - cuts[2]), with()}
		s := each(a, b)
		switch r.IntN(3) {
		case 0:
			s = &steps{list: []step{{0, end, 0, []edit{a, b}}}}
		case 1:
			s = &steps{list: []step{{int64(cuts[0]), 1 + r.IntN(9), int64(cuts[0]), []edit{a}}, {int64(cuts[2]), 1 + r.IntN(9), int64(r.IntN(cuts[2]-cuts[0]+1) + cuts[0]), []edit{b}}}}
		}
		once(t, in, plain, s)
	}
}

// once transcodes in and compares with the model.
func once(t *testing.T, in, plain []byte, s *steps) {
	t.Helper()
	var out bytes.Buffer
	res, err := deflate.Transcode(&out, bytes.NewReader(in), s, deflate.Options{})
	want := applied(plain, s.edits()...)
	got, gerr := stdInflate(out.Bytes())
	if err != nil || gerr != nil || !bytes.Equal(got, want) {
		t.Fatalf("%+v: %v, %v: %q, want %q", s.list, err, gerr, got, want)
	}
	if res.New.Digest != sha256.Sum256(want) || !res.Changed && !bytes.Equal(out.Bytes(), in) {
		t.Fatalf("%+v: another digest", s.list)
	}
}

// tinyBlocks has n members of several blocks of each kind, with matches
// across all of them.
func tinyBlocks(n int) (in []byte) {
	for range n {
		s := new(bitStream).fixed(false).literal('a').literal('b').symbol(258).distance(1, 0, 0).end()
		s.stored(false, []byte("cd"))
		s.fixed(false).end()
		c := s.dynamic(false, flat(260, 2, 'a', 'b', 256, 259), []int{1, 1, 0}[:2])
		c.literal('a').symbol(259).distance(0, 0, 0).symbol(259).distance(1, 0, 0).end()
		s.stored(false, nil)
		s.fixed(true).symbol(257).distance(7, 3, 2).literal('e').end()
		in = append(in, s.member(tinyPlain())...)
	}
	return in
}

func tinyPlain() []byte {
	b := []byte("ab" + "abab" + "cd" + "a" + "aaaaa" + "aaaaa")
	at := len(b) - (13 + 3)
	return append(append(b, b[at:at+3]...), 'e')
}

func TestEStargzFooter(t *testing.T) {
	t.Parallel()
	found := false
	for name, in := range imageLayers(t) {
		plain, err := stdInflate(in)
		if err != nil || !bytes.Contains(in[len(in)-51:], []byte("STARGZ")) {
			continue
		}
		found = true
		out, _ := mustTranscode(t, in, plain, each())
		if !bytes.Equal(out, in) {
			t.Errorf("%s: other bytes", name)
		}
		out, _ = mustTranscode(t, in, plain, each(edit{0, 1, []byte("#")}))
		if bytes.Contains(out[len(out)-51:], []byte("STARGZ")) {
			t.Errorf("%s: the footer is still there", name)
		}
	}
	if !found {
		t.Error("no eStargz layer")
	}
}

func TestMemberOfWhichNothingIsLeftVanishes(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("some text "), 100)
	a, b, c := kGzip(plain[:300], 6), stdGzip(plain[300:600], 6), kGzip(plain[600:], 6)
	in := bytes.Join([][]byte{a, b, c}, nil)
	out, _ := mustTranscode(t, in, plain, each(edit{300, 300, nil}))
	if !bytes.Equal(out, append(a, c...)) {
		t.Error("more than the member went")
	}
	out, _ = mustTranscode(t, in, plain, each(edit{100, 700, nil})) // across all three
	if bytes.Count(out, []byte{0x1f, 0x8b, 8}) != 2 {
		t.Error("the member in the middle is still there")
	}
}
