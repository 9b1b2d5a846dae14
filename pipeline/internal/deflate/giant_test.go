package deflate_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

// giantSize is how many plain bytes a giant block makes: many times of what is
// held. DEFLATE_GIANT is another number.
func giantSize() int {
	if n, err := strconv.Atoi(os.Getenv("DEFLATE_GIANT")); err == nil {
		return n
	}
	return 3 << 20
}

// giant writes literals of 16 values and matches to a block.
func giant(c *coder, n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	plain := make([]byte, 0, n+300)
	for len(plain) < n {
		x := r.Uint64()
		if len(plain) < 300 || x&3 == 0 {
			v := byte(x >> 8 & 15)
			c.literal(v)
			plain = append(plain, v)
			continue
		}
		length, sym, dist, extra := 3+int(x>>8&7), 257+int(x>>8&7), 4+int(x>>16&7), uint(1)
		base := []int{5, 7, 9, 13, 17, 25, 33, 49}[dist-4]
		extra += uint(dist-4) / 2
		more := x >> 24 & (1<<extra - 1)
		c.symbol(sym).distance(dist, more, extra)
		for from := len(plain) - base - int(more); length > 0; length-- {
			plain = append(plain, plain[from])
			from++
		}
	}
	return plain
}

// giantStream is one block, or one before a small last block.
func giantStream(dynamic, last bool, n int) (in, plain []byte) {
	s := new(bitStream)
	var c *coder
	if dynamic {
		lit := flat(272, 5, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 256)
		for i := 257; i < 272; i++ {
			lit[i] = 5
		}
		c = s.dynamic(last, lit, flat(16, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
	} else {
		c = s.fixed(last)
	}
	plain = giant(c, n)
	c.end()
	if !last {
		s.fixed(true).literal('e').end()
		plain = append(plain, 'e')
	}
	return s.member(plain), plain
}

// TestGiantBlocks edits a stream that is one block. It is not parallel: it
// measures memory.
func TestGiantBlocks(t *testing.T) {
	few(t)
	known := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, kind := range []struct{ dynamic, last bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		n := giantSize()
		if !kind.dynamic {
			n /= 2
		}
		in, plain := giantStream(kind.dynamic, kind.last, n)
		for what, change := range map[string]func(off int64) edit{
			"patches":    func(off int64) edit { return edit{off, 8, known} },
			"deletions":  func(off int64) edit { return edit{off, 500, nil} },
			"insertions": func(off int64) edit { return edit{off, 0, known} },
			"letters":    func(off int64) edit { return edit{off, 8, []byte("12345678")} },
		} {
			t.Run(fmt.Sprintf("%+v/%s", kind, what), func(t *testing.T) {
				var all []edit
				for off := int64(400 << 10); off < int64(n-1000); off += 70000 {
					all = append(all, change(off))
				}
				s := each(all...)
				var out bytes.Buffer
				out.Grow(2 * len(in)) // now, so that it is not measured
				var res deflate.Result
				var err error
				bounded(t, in, func(src io.Reader) { res, err = deflate.Transcode(&out, src, s, deflate.Options{}) })
				if kind.last && (what == "insertions" || what == "letters" && kind.dynamic) {
					if !errors.Is(err, deflate.ErrFallback) {
						t.Error("in the last block, after much of it: ", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := same(out.Bytes(), applied(plain, all...), res, plain); err != nil {
					t.Error(err)
				}
				t.Logf("%d bytes are %d", len(in), out.Len())
			})
		}
	}
}

// TestLastBlock edits before and after 64 KiB of the last block.
func TestLastBlock(t *testing.T) {
	t.Parallel()
	in, plain := giantStream(true, true, 300<<10)
	all := []byte("#")
	end := int64(len(plain))
	for name, x := range map[string]struct {
		e    []edit
		fell bool
	}{
		"insert at the start":          {[]edit{{0, 0, all}}, false},
		"insert before 64 KiB":         {[]edit{{20000, 0, all}}, false},
		"before and after":             {[]edit{{20000, 0, all}, {end - 10, 0, all}}, false},
		"patch before, insert after":   {[]edit{{20000, 1, all}, {end - 10, 0, all}}, false},
		"delete before, insert after":  {[]edit{{20000, 1, nil}, {end, 0, all}}, false},
		"insert after":                 {[]edit{{end - 10, 0, all}}, true},
		"insert at the end":            {[]edit{{end, 0, all}}, true},
		"no word for it":               {[]edit{{end - 10, 1, all}}, true},
		"delete after":                 {[]edit{{end - 1000, 990, nil}}, false},
		"delete to the end":            {[]edit{{end - 1000, -1, nil}}, false},
		"delete all":                   {[]edit{{0, -1, nil}}, false},
		"delete all but a byte":        {[]edit{{1, -1, nil}}, false},
		"replace all":                  {[]edit{{0, -1, all}}, false},
		"900 KB at the start":          {[]edit{{0, 0, bytes.Repeat([]byte("0123456789"), 90000)}}, false},
		"900 KB before 64 KiB":         {[]edit{{999, 3, bytes.Repeat([]byte("0123456789"), 90000)}}, false},
		"2 MB":                         {[]edit{{999, 0, bytes.Repeat([]byte("0123456789"), 200000)}}, true},
		"delete before the end, patch": {[]edit{{end - 1000, 500, nil}, {end - 100, 1, []byte{9}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if x.fell {
				_, err := deflate.Transcode(io.Discard, bytes.NewReader(in), each(x.e...), deflate.Options{})
				_, again := deflate.Transcode(io.Discard, chunks{bytes.NewReader(in), rand.New(rand.NewPCG(1, 1))}, each(x.e...), deflate.Options{})
				if !errors.Is(err, deflate.ErrFallback) || again == nil || err.Error() != again.Error() {
					t.Errorf("%v; in pieces: %v", err, again)
				}
				return
			}
			mustTranscode(t, in, plain, each(x.e...))
		})
	}
}
