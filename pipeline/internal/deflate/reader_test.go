package deflate_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	kgzip "github.com/klauspost/compress/gzip"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

// inflate reads all of a stream with our Reader.
func inflate(in []byte) ([]byte, error) {
	return io.ReadAll(deflate.NewReader(bytes.NewReader(in)))
}

// stdInflate reads all of it with compress/gzip.
func stdInflate(in []byte) ([]byte, error) {
	z, err := stdgzip.NewReader(bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// writerOnly has no other methods, and counts.
type writerOnly struct {
	b    bytes.Buffer
	most int
}

func (w *writerOnly) Write(p []byte) (int, error) {
	w.most = max(w.most, len(p))
	return w.b.Write(p)
}

func TestReaderIsTheModel(t *testing.T) {
	t.Parallel()
	sizes := []int{0, 1, 2, 300, 32767, 32769, 65536, 200000, 600000}
	for _, c := range compressors() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for i, n := range sizes {
				if (c.slow || quick()) && n > 70000 {
					continue
				}
				plain := makeTar(rand.New(rand.NewPCG(uint64(n), 9)), n)[:n]
				in := c.compress(t, plain)
				readEveryWay(t, in, plain, uint64(i))
			}
		})
	}
}

func readEveryWay(t *testing.T, in, plain []byte, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	for name, src := range map[string]io.Reader{
		"whole":     bytes.NewReader(in),
		"chunks":    chunks{bytes.NewReader(in), r},
		"with EOF":  iotest.DataErrReader(bytes.NewReader(in)),
		"half":      iotest.HalfReader(bytes.NewReader(in)),
		"with gaps": &gaps{bytes.NewReader(in), 0},
	} {
		got, err := io.ReadAll(chunks{deflate.NewReader(src), rand.New(rand.NewPCG(seed, 3))})
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%s: %v: %d bytes of %d, first difference at %d", name, err, len(got), len(plain), difference(got, plain))
		}
	}
	var w writerOnly
	z := deflate.NewReader(iotest.OneByteReader(bytes.NewReader(in)))
	some, err := io.ReadAll(io.LimitReader(z, int64(len(plain)/3)))
	if err != nil {
		t.Fatal(err)
	}
	n, err := z.WriteTo(&w)
	if err != nil || int(n)+len(some) != len(plain) || !bytes.Equal(append(some, w.b.Bytes()...), plain) {
		t.Fatalf("WriteTo: %v", err)
	}
	for range 2 {
		if n, err := z.Read(make([]byte, 5)); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("behind the end: %d %v", n, err)
		}
	}
}

// gaps gives nothing at every other call.
type gaps struct {
	r io.Reader
	n int
}

func (g *gaps) Read(p []byte) (int, error) {
	if g.n++; g.n%2 == 0 {
		return 0, nil
	}
	return g.r.Read(p[:min(len(p), 1000)])
}

func TestReaderPassesErrorsOn(t *testing.T) {
	t.Parallel()
	plain := makeTar(rand.New(rand.NewPCG(1, 9)), 300000)
	in := kGzip(plain, 6)
	for n := 0; n < len(in); n += 1 + n/3 {
		got, err := io.ReadAll(deflate.NewReader(&failing{r: bytes.NewReader(in), n: n}))
		if !errors.Is(err, errTest) || !bytes.HasPrefix(plain, got) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if _, err := deflate.NewReader(bytes.NewReader(in)).WriteTo(&failing{n: 1000}); !errors.Is(err, errTest) {
		t.Error(err)
	}
	if _, err := deflate.NewReader(&stuck{}).Read(make([]byte, 1)); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
	if n, err := deflate.NewReader(&stuck{}).Read(nil); n != 0 || err != nil {
		t.Errorf("of nothing: %d %v", n, err)
	}
}

type stuck struct{}

func (*stuck) Read([]byte) (int, error) { return 0, nil }

func TestReaderMembers(t *testing.T) {
	t.Parallel()
	a, b, none := stdGzip([]byte("one "), 6), kGzip([]byte("two"), 1), kGzip(nil, 6)
	join := func(p ...[]byte) []byte { return bytes.Join(p, nil) }
	long := append([]byte{0x1f, 0x8b, 8, 0x1c, 1, 2, 3, 4, 5, 6, 0xff, 0xff}, make([]byte, 0xffff)...)
	long = append(long, bytes.Repeat([]byte("n"), 500)...)
	long = append(append(long, 0), bytes.Repeat([]byte("c"), 500)...)
	long = append(append(long, 0), kGzip([]byte("one "), 6)[10:]...)
	for name, x := range map[string]struct {
		in   []byte
		want string
		err  error
	}{
		"one":                {a, "one ", nil},
		"two":                {join(a, b), "one two", nil},
		"with empty ones":    {join(none, a, none, none, b, none), "one two", nil},
		"all fields":         {long, "one ", nil},
		"nothing":            {nil, "", io.ErrUnexpectedEOF},
		"trailing garbage":   {join(a, []byte("garbage")), "one ", deflate.ErrCorrupt},
		"trailing zeros":     {join(a, make([]byte, 100)), "one ", deflate.ErrCorrupt},
		"half a header":      {join(a, b[:5]), "one ", io.ErrUnexpectedEOF},
		"a match before it":  {join(a, backReference()), "one ", deflate.ErrCorrupt},
		"not gzip":           {[]byte("PK\x03\x04 and more of it"), "", deflate.ErrCorrupt},
		"another method":     {[]byte("\x1f\x8b\x07 and more of it"), "", deflate.ErrCorrupt},
		"reserved flags":     {join([]byte{0x1f, 0x8b, 8, 0x20}, b[4:]), "", deflate.ErrCorrupt},
		"a header's sum":     {join(headerSum(0), b[10:]), "two", nil},
		"a wrong header sum": {join(headerSum(1), b[10:]), "", deflate.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := inflate(x.in)
			if string(got) != x.want || !errors.Is(err, x.err) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// backReference is a member that begins with a match, into the one before it.
func backReference() []byte {
	return new(bitStream).fixed(true).symbol(257).distance(0, 0, 0).end().member([]byte("   "))
}

// headerSum is a header with a checksum that is wrong by n.
func headerSum(n byte) []byte {
	h := []byte{0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 255}
	sum := crc32.ChecksumIEEE(h)
	return append(h, byte(sum)+n, byte(sum>>8))
}

func TestReaderSaysWhereItIsWrong(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("some text "), 100)
	good := kGzip(plain, 6)
	at := len(good)
	edit := func(i int, v byte) []byte {
		b := bytes.Clone(good)
		b[i] ^= v
		return append(bytes.Clone(good), b...)
	}
	for name, x := range map[string]struct {
		in   []byte
		want string
	}{
		"truncated":        {append(good, good[:20]...), fmt.Sprintf("gzip stream ends at byte %d: unexpected EOF", at+20)},
		"in a header":      {append(bytes.Clone(good), good[:4]...), fmt.Sprintf("gzip stream ends at byte %d: unexpected EOF", at+4)},
		"magic":            {edit(1, 1), fmt.Sprintf("corrupt gzip stream at byte %d: no gzip header", at)},
		"flags":            {edit(3, 0x80), fmt.Sprintf("corrupt gzip stream at byte %d: a gzip header of a kind that nobody writes", at)},
		"checksum":         {edit(len(good)-8, 1), fmt.Sprintf("corrupt gzip stream at byte %d: the checksum of the plain bytes", 2*at-8)},
		"length":           {edit(len(good)-1, 1), fmt.Sprintf("corrupt gzip stream at byte %d: the length of the plain bytes", 2*at-8)},
		"kind of block":    {append(bytes.Clone(good[:10]), 7, 0), "corrupt gzip stream at byte 10: a block of no known kind"},
		"length of stored": {append(bytes.Clone(good[:10]), 1, 1, 0, 1, 0), "corrupt gzip stream at byte 11: the length of a stored block"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := inflate(x.in); err == nil || err.Error() != x.want {
				t.Errorf("%v, want %s", err, x.want)
			}
			if _, err := deflate.Transcode(io.Discard, bytes.NewReader(x.in), each(), deflate.Options{}); err == nil || err.Error() != x.want {
				t.Errorf("Transcode: %v, want %s", err, x.want)
			}
		})
	}
}

// layers are the gzip files that DEFLATE_FILES lists, a pattern.
func layers(tb testing.TB) (all [][]byte) {
	names, _ := filepath.Glob(os.Getenv("DEFLATE_FILES"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// BenchmarkReader compares the inflaters on a tar and, if DEFLATE_FILES is a
// pattern of names, on those gzip files.
func BenchmarkReader(b *testing.B) {
	files := append(layers(b), kGzip(makeTar(rand.New(rand.NewPCG(1, 1)), 16<<20), 6))
	n := int64(0)
	for _, in := range files {
		k, err := io.Copy(io.Discard, deflate.NewReader(bytes.NewReader(in)))
		if err != nil {
			b.Fatal(err)
		}
		n += k
	}
	for name, open := range map[string]func(io.Reader) (io.Reader, error){
		"ours":      func(r io.Reader) (io.Reader, error) { return deflate.NewReader(r), nil },
		"klauspost": func(r io.Reader) (io.Reader, error) { return kgzip.NewReader(r) },
		"Go":        func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(r) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(n)
			b.ReportAllocs()
			for b.Loop() {
				for _, in := range files {
					z, err := open(bytes.NewReader(in))
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, z); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
