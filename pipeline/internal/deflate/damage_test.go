package deflate_test

import (
	"bytes"
	"compress/flate"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

// smallStreams are streams of which every bit can be tried.
func smallStreams(t testing.TB) map[string][]byte {
	r := rand.New(rand.NewPCG(4, 4))
	text := makeTar(r, 1)[:700]
	mixed := append(bytes.Repeat([]byte("abcabcd"), 40), text[:60]...)
	for range 50 {
		mixed = append(mixed, byte(r.Uint32()))
	}
	all := map[string][]byte{
		"two members":   append(kGzip(mixed[:200], 6), stdGzip(mixed[200:], 6)...),
		"stored":        stdGzip(mixed, 0),
		"flushed":       flushed(mixed),
		"header's sum":  append(headerSum(0), kGzip(mixed, 6)[10:]...),
		"Huffman only":  stdGzip(mixed, stdgzip.HuffmanOnly),
		"fixed":         handMade(),
		"padded":        padded(),
		"one distance":  degenerate(),
		"text, level 6": kGzip(text, 6),
	}
	for _, tool := range [][]string{{"gzip", "-9"}, {"igzip", "-1"}, {"pigz", "-6"}} {
		if b := compressedBy(t, mixed, tool...); b != nil {
			all[tool[0]] = b
		}
	}
	return all
}

func handMade() []byte {
	c := new(bitStream).fixed(false).literal('a').literal('b').symbol(257).distance(1, 0, 0)
	return c.end().fixed(true).symbol(285).distance(0, 0, 0).end().member(append([]byte("ababa"), bytes.Repeat([]byte("a"), 258)...))
}

// padded has bits that are not 0 before a stored block and behind the last one.
func padded() []byte {
	s := new(bitStream).fixed(false).literal('a').end()
	s.bits(0, 3).align(0xff)
	s.b = append(s.b, 1, 0, 0xfe, 0xff, 'b')
	s.fixed(true).literal('c').end().align(0xff)
	return s.member([]byte("abc"))
}

// degenerate has a code of one distance, which is half a code.
func degenerate() []byte {
	lit := flat(258, 2, 'a', 'b', 256, 257)
	return new(bitStream).dynamic(true, lit, []int{0, 1}).literal('a').literal('b').symbol(257).distance(1, 0, 0).end().member([]byte("ababa"))
}

// TestTruncationIsSeen cuts streams at every byte.
func TestTruncationIsSeen(t *testing.T) {
	t.Parallel()
	for name, in := range smallStreams(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, err := stdInflate(in)
			if err != nil {
				t.Fatal(err)
			}
			for n := range in {
				got, err := inflate(in[:n])
				whole := name == "two members" && err == nil // cut between them
				if !whole && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%d of %d bytes: %v", n, len(in), err)
				}
				if !bytes.HasPrefix(plain, got) {
					t.Errorf("%d of %d bytes: made %q up", n, len(in), got)
				}
				_, terr := deflate.Transcode(io.Discard, bytes.NewReader(in[:n]), each(), deflate.Options{})
				if (terr == nil) != (err == nil) {
					t.Errorf("%d of %d bytes: %v, Transcode says %v", n, len(in), err, terr)
				}
			}
		})
	}
}

// zlib says of every stream whether Python's zlib reads it, and what.
func zlib(t *testing.T, streams [][]byte) (plain [][]byte) {
	const script = `
import sys, struct, zlib
i, o = sys.stdin.buffer, sys.stdout.buffer
while True:
    n = i.read(4)
    if not n: break
    data, out = i.read(struct.unpack('<I', n)[0]), b''
    try:
        while True:
            z = zlib.decompressobj(31)
            out += z.decompress(data) + z.flush()
            if not z.eof: raise zlib.error
            data = z.unused_data
            if not data: break
        o.write(struct.pack('<i', len(out)) + out)
    except zlib.error:
        o.write(struct.pack('<i', -1))
`
	var in []byte
	for _, s := range streams {
		in = append(binary.LittleEndian.AppendUint32(in, uint32(len(s))), s...)
	}
	out := run(t, in, "python3", "-c", script)
	if out == nil {
		return nil
	}
	for range streams {
		n := int32(binary.LittleEndian.Uint32(out))
		out = out[4:]
		if n < 0 {
			plain = append(plain, nil)
			continue
		}
		plain = append(plain, append([]byte{}, out[:n]...))
		out = out[n:]
	}
	return plain
}

// TestFlippedBits flips every bit of small streams. Nobody can see damage to
//
//   - what a member's header says about the file: FTEXT, MTIME, XFL, OS, the
//     bytes of the extra field, the name and the comment, if there is no FHCRC;
//   - the bits that fill a byte, before a stored block and behind the last one;
//   - a match that finds the same bytes at another distance.
//
// That and nothing else is let through, by us and by zlib. compress/gzip looks
// away from the reserved flags too, which RFC 1952 (2.3.1.2) has us refuse; it is
// the only difference.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	step := 1
	if quick() {
		step = 11
	}
	for name, in := range smallStreams(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, err := stdInflate(in)
			if err != nil {
				t.Fatal(err)
			}
			var all [][]byte
			for i := 0; i < len(in)*8; i += step {
				b := bytes.Clone(in)
				b[i/8] ^= 1 << (i % 8)
				all = append(all, b)
			}
			byZlib := zlib(t, all)
			for i, b := range all {
				byZ := byZlib != nil && byZlib[i] != nil
				i *= step
				got, err := inflate(b)
				if err == nil && !bytes.Equal(got, plain) {
					t.Errorf("bit %d.%d: other bytes", i/8, i%8)
				}
				std, gerr := stdInflate(b)
				if err != nil && !bytes.HasPrefix(std, got) {
					t.Errorf("bit %d.%d: bytes that compress/gzip does not have: %v", i/8, i%8, err)
				}
				if (gerr == nil) != (err == nil) && (gerr != nil || !reserved(b, err)) {
					t.Errorf("bit %d.%d: %v; compress/gzip: %v", i/8, i%8, err, gerr)
				}
				if byZlib != nil && byZ != (err == nil) {
					t.Errorf("bit %d.%d: %v; zlib: %t", i/8, i%8, err, byZ)
				}
				if i%7 != 0 { // it makes more buffers than a Reader
					continue
				}
				if _, terr := deflate.Transcode(io.Discard, bytes.NewReader(b), each(), deflate.Options{}); (terr == nil) != (err == nil) {
					t.Errorf("bit %d.%d: %v; Transcode: %v", i/8, i%8, err, terr)
				}
			}
		})
	}
}

// reserved says whether the error is that a member's header has reserved flags.
func reserved(in []byte, err error) bool {
	var at int
	if err == nil {
		return false
	}
	if n, _ := fmt.Sscanf(err.Error(), deflate.ErrCorrupt.Error()+" at byte %d: a gzip header of a kind", &at); n != 1 {
		return false
	}
	return in[at+3]&0xe0 != 0
}

// TestUnseenBits lists the bits of a stream that nobody sees.
func TestUnseenBits(t *testing.T) {
	t.Parallel()
	in, unseen := padded(), ""
	for i := range len(in) * 8 {
		b := bytes.Clone(in)
		b[i/8] ^= 1 << (i % 8)
		if _, err := inflate(b); err == nil {
			unseen += fmt.Sprintf("%d.%d ", i/8, i%8)
		}
	}
	want := "3.0 "
	for i := 4; i < 10; i++ {
		for j := range 8 {
			want += fmt.Sprintf("%d.%d ", i, j)
		}
	}
	// The first block has 3+8+7 bits, the second's header 3: 3 are left. The last
	// has as many as the first: 6 are left.
	want += "12.5 12.6 12.7 20.2 20.3 20.4 20.5 20.6 20.7 "
	if unseen != want {
		t.Errorf("%s, want %s", unseen, want)
	}
}

// blocks are streams of which the codes are wrong, or nearly.
func blocks() map[string][]byte {
	abc := flat(258, 2, 'a', 'b', 256, 257)
	dyn := func(lit, dist []int, rest func(c *coder)) []byte {
		c := new(bitStream).dynamic(true, lit, dist)
		if rest != nil {
			rest(c)
		} else {
			c.literal('a').literal('b').end()
		}
		return append(c.align(0).b, make([]byte, 8)...)
	}
	fix := func(rest func(c *coder)) []byte {
		c := new(bitStream).fixed(true)
		c.literal('a').literal('b')
		rest(c)
		return append(c.align(0).b, make([]byte, 8)...)
	}
	match := func(sym, dist int) func(c *coder) {
		return func(c *coder) { c.literal('a').symbol(sym).distance(dist, 0, 0).end() }
	}
	return map[string][]byte{
		"good":                      dyn(abc, []int{1, 1}, nil),
		"good, one distance":        dyn(abc, []int{1}, nil),
		"good, no distance":         dyn(abc, []int{0}, nil),
		"good, only an end":         dyn(flat(257, 1, 256), []int{0}, func(c *coder) { c.end() }),
		"over-subscribed":           dyn(flat(258, 1, 'a', 'b', 256), []int{1, 1}, nil),
		"incomplete":                dyn(flat(258, 2, 'a', 'b', 256), []int{1, 1}, nil),
		"one word of two bits":      dyn(flat(257, 2, 256), []int{1, 1}, func(c *coder) { c.end() }),
		"no end":                    dyn(flat(258, 1, 'a', 'b'), []int{1, 1}, func(c *coder) { c.literal('a') }),
		"distances over-subscribed": dyn(abc, []int{1, 1, 1}, nil),
		"distances incomplete":      dyn(abc, []int{2, 2, 2}, nil),
		"one distance of two bits":  dyn(abc, []int{2}, nil),
		"a match without distances": dyn(abc, []int{0}, match(257, 0)),
		"the word that is not":      dyn(abc, []int{1}, func(c *coder) { c.literal('a').symbol(257).bits(1, 1); c.end() }),
		"287 symbols":               dyn(flat(287, 2, 'a', 'b', 256, 257), []int{1, 1}, nil),
		"288 symbols":               dyn(flat(288, 2, 'a', 'b', 256, 257), []int{1, 1}, nil),
		"31 distances":              dyn(abc, flat(31, 1, 0, 1), nil),
		"32 distances":              dyn(abc, flat(32, 1, 0, 1), nil),
		"fixed, symbol 286":         fix(func(c *coder) { c.symbol(286).distance(0, 0, 0).end() }),
		"fixed, symbol 287":         fix(func(c *coder) { c.symbol(287).distance(0, 0, 0).end() }),
		"fixed, distance 30":        fix(func(c *coder) { c.symbol(257).distance(30, 0, 0).end() }),
		"fixed, distance 31":        fix(func(c *coder) { c.symbol(257).distance(31, 0, 0).end() }),
		"good, from the start":      fix(func(c *coder) { c.symbol(257).distance(1, 0, 0).end() }),
		"before the start":          fix(func(c *coder) { c.symbol(257).distance(2, 0, 0).end() }),
		"far before the start":      fix(func(c *coder) { c.symbol(257).distance(29, 8191, 13).end() }),
	}
}

func TestCodesThatAreNone(t *testing.T) {
	t.Parallel()
	for name, raw := range blocks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, ferr := io.ReadAll(flate.NewReader(bytes.NewReader(raw)))
			good := strings.HasPrefix(name, "good")
			if (ferr == nil) != good {
				t.Errorf("compress/flate: %v", ferr)
			}
			in := append(headerSum(0), raw[:len(raw)-8]...)
			in = binary.LittleEndian.AppendUint32(in, crc32.ChecksumIEEE(plain))
			in = binary.LittleEndian.AppendUint32(in, uint32(len(plain)))
			// Behind another member, so that there are bytes before the start.
			in = append(kGzip([]byte("abcdefgh"), 1), in...)
			got, err := inflate(in)
			if good && (err != nil || !bytes.Equal(got, append([]byte("abcdefgh"), plain...))) || !good && err == nil {
				t.Errorf("%q: %v", got, err)
			}
			if _, terr := deflate.Transcode(io.Discard, bytes.NewReader(in), each(edit{1, 1, []byte("#")}), deflate.Options{}); (terr == nil) != good {
				t.Errorf("Transcode: %v", terr)
			}
		})
	}
}
