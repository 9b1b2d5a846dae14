package deflate_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

// memoryMost is what may be held at once. The hostile streams of these tests are
// made to have more held.
const memoryMost = 16 << 20

// A gauge is a source that looks now and then how much memory is held.
type gauge struct {
	r             io.Reader
	base, peak    uint64
	reads, looked int
}

func heap() uint64 {
	runtime.GC()
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func (g *gauge) look() { g.peak = max(g.peak, heap()) }

func (g *gauge) Read(p []byte) (int, error) {
	g.reads++
	if g.reads-g.looked > g.looked/4 {
		g.looked = g.reads
		g.look()
	}
	return g.r.Read(p[:min(len(p), 64<<10)])
}

// bounded runs do with a source that measures. Such tests are not parallel: they
// run when no others do.
func bounded(t *testing.T, in []byte, do func(io.Reader)) {
	t.Helper()
	g := &gauge{r: bytes.NewReader(in), base: heap()}
	do(g)
	used := int64(max(g.peak, heap())) - int64(g.base)
	t.Logf("%d KiB for %d KiB of input", used>>10, len(in)>>10)
	if used > memoryMost {
		t.Errorf("%d KiB were held at once", used>>10)
	}
}

// repeated is b n times.
func repeated(b []byte, n int) []byte { return bytes.Repeat(b, n) }

func emptyBlocks(n int) []byte {
	s := new(bitStream)
	s.fixed(false).literal('a').literal('b').end()
	for range n {
		s.fixed(false).end()
	}
	s.fixed(true).literal('c').end()
	return s.member([]byte("abc"))
}

func emptyStored(n int) []byte {
	s := new(bitStream)
	s.fixed(false).literal('a').literal('b').end()
	for range n {
		s.stored(false, nil)
	}
	s.fixed(true).literal('c').end()
	return s.member([]byte("abc"))
}

func emptyDynamic(n int) []byte {
	s := new(bitStream)
	s.fixed(false).literal('a').literal('b').end()
	for range n {
		s.dynamic(false, flat(257, 1, 256), []int{0}).end()
	}
	s.fixed(true).literal('c').end()
	return s.member([]byte("abc"))
}

func emptyMembers(n int) []byte {
	b := new(bitStream).fixed(true).literal('a').literal('b').end().member([]byte("ab"))
	b = append(b, repeated(new(bitStream).fixed(true).end().member(nil), n)...)
	return append(b, new(bitStream).fixed(true).literal('c').end().member([]byte("c"))...)
}

// hostile are streams that make a decoder hold much, or run long.
var hostile = sync.OnceValue(func() map[string][]byte {
	zeros := kGzip(make([]byte, 64<<20), 1)
	random := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	extra := []byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 0xff, 0xff}
	extra = append(append(extra, make([]byte, 0xffff)...), new(bitStream).fixed(true).end().member(nil)[10:]...)
	one := new(bitStream).fixed(true).literal('a').end().member([]byte("a"))
	return map[string][]byte{
		"a bomb":                 zeros,
		"stored":                 stdGzip(random, 0),
		"literals":               stdGzip(random[:1<<20], stdgzip.HuffmanOnly),
		"empty blocks":           emptyBlocks(1 << 18),
		"empty stored blocks":    emptyStored(1 << 18),
		"empty dynamic blocks":   emptyDynamic(6000),
		"empty members":          emptyMembers(1 << 17),
		"a name without end":     append([]byte{0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255}, repeated([]byte("n"), 2<<20)...),
		"members of one byte":    repeated(one, 1<<17),
		"members with much said": append(append([]byte{}, one...), repeated(extra, 100)...),
	}
})

func TestReaderMemoryIsBounded(t *testing.T) {
	few(t)
	for name, in := range hostile() {
		t.Run(name, func(t *testing.T) {
			bounded(t, in, func(src io.Reader) {
				if _, err := io.Copy(io.Discard, deflate.NewReader(src)); err != nil && name != "a name without end" {
					t.Error(err)
				}
			})
		})
	}
}

// TestTranscodeMemoryIsBounded has the second byte in an open region, with much
// that makes no bytes behind it, and the first byte of every stream replaced.
func TestTranscodeMemoryIsBounded(t *testing.T) {
	few(t)
	for name, in := range hostile() {
		for kind, s := range map[string]*steps{
			"open":  {list: []step{{1, 2, 1, nil}, {300, 2, 300, nil}}},
			"first": {list: []step{{0, 1, 0, []edit{{0, 1, []byte("#")}}}}},
			"wide":  {list: []step{{129 << 10, deflate.MaxRegion - 300, 2, nil}}},
			"far":   {list: []step{{100, deflate.MaxRegion, 1, nil}, {1 << 20, deflate.MaxRegion, 1, nil}}},
			"close": {list: []step{{100, deflate.MaxRegion, 100, nil}, {100000, deflate.MaxRegion, 100000, nil}}},
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				bounded(t, in, func(src io.Reader) {
					_, err := deflate.Transcode(io.Discard, src, s.again(), deflate.Options{})
					t.Log(err)
					if err != nil && name != "a name without end" && !errors.Is(err, deflate.ErrFallback) {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestInsertionsAreNotHeld(t *testing.T) {
	few(t)
	plain := make([]byte, 256<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(plain)
	for i := range plain {
		plain[i] &= 15 // else they are stored
	}
	with := plain[:250<<10]
	s := &steps{}
	for off := int64(1000); off < 200000; off += 2000 {
		s.list = append(s.list, step{off, 10, off, []edit{{off, 0, with}}})
	}
	bounded(t, stdGzip(plain, stdgzip.HuffmanOnly), func(src io.Reader) {
		s.look = src.(*gauge).look
		if _, err := deflate.Transcode(io.Discard, src, s, deflate.Options{}); err != nil {
			t.Error(err)
		}
	})
}
