package codec_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/occystrap/occystrap/pipeline/internal/codec"
)

func write(t testing.TB, w io.WriteCloser, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func gz(t testing.TB, parts ...string) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		write(t, stdgzip.NewWriter(&b), p)
	}
	return b.Bytes()
}

func zst(t testing.TB, parts ...string) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		w, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, p)
	}
	return b.Bytes()
}

func xzOf(t testing.TB, s string) []byte {
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, s)
	return b.Bytes()
}

// bz is "hello" by bzip2(1); Go has no writer.
const bz = "BZh91AY&SY\x19\x31\x65\x3d\x00\x00\x00\x81\x00\x02\x44\xa0\x00\x21\x9a\x68\x33\x4d\x07\x33\x8b\xb9\x22\x9c\x28\x48\x0c\x98\xb2\x9e\x80"

func TestReaderReadsToTheRealEnd(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 100000)
	skippable := append([]byte{0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	cases := map[string]struct {
		in   []byte
		c    codec.Compression
		want string
	}{
		"plain":                    {[]byte("hello"), codec.Plain, "hello"},
		"empty":                    {nil, codec.Plain, ""},
		"gzip":                     {gz(t, long), codec.Gzip, long},
		"gzip of several members":  {gz(t, "a", "", long, "b"), codec.Gzip, "a" + long + "b"},
		"zstd":                     {zst(t, long), codec.Zstd, long},
		"zstd of several frames":   {zst(t, "a", long, "b"), codec.Zstd, "a" + long + "b"},
		"zstd with skippable ones": {append(append(bytes.Clone(skippable), zst(t, "x")...), skippable...), codec.Zstd, "x"},
		"bzip2":                    {[]byte(bz), codec.Bzip2, "hello"},
		"xz":                       {xzOf(t, "hello"), codec.XZ, "hello"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, how, err := codec.NewReader(bytes.NewReader(c.in))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			if err != nil || string(got) != c.want || how != c.c {
				t.Errorf("%s, %d bytes, %v", how, len(got), err)
			}
		})
	}
}

func TestDamageIsAnError(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 1000)
	for name, in := range map[string][]byte{
		"gzip cut":      gz(t, long)[:40],
		"gzip trailing": append(gz(t, long), "garbage"...),
		"gzip header":   gz(t, long)[:4],
		"zstd cut":      zst(t, long)[:20],
		"zstd trailing": append(zst(t, long), "garbage"...),
		"xz cut":        xzOf(t, long)[:50],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _, err := codec.NewReader(bytes.NewReader(in))
			if err == nil {
				defer r.Close()
				_, err = io.Copy(io.Discard, r)
			}
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

func readAll(t *testing.T, packed []byte, c codec.Compression, want string) {
	t.Helper()
	r, how, err := codec.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || how != c || string(got) != want {
		t.Errorf("%s: reads %d bytes of %s, %v", c, len(got), how, err)
	}
}

func TestWriterDependsOnContentAlone(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("some content that compresses, ", 50000) // several chunks of gzip
	for _, c := range []codec.Compression{codec.Plain, codec.Gzip, codec.Zstd} {
		var want []byte
		for _, piece := range []int{len(content), 1 << 16, 7777, 512} {
			var b bytes.Buffer
			w, err := codec.NewWriter(&b, c, 0)
			if err != nil {
				t.Fatal(err)
			}
			for s := content; s != ""; {
				n := min(piece, len(s))
				if _, err := io.WriteString(w, s[:n]); err != nil {
					t.Fatal(err)
				}
				s = s[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = b.Bytes()
			}
			if !bytes.Equal(want, b.Bytes()) {
				t.Errorf("%s: writes of %d bytes give other output", c, piece)
			}
			readAll(t, b.Bytes(), c, content)
			if c == codec.Gzip && !bytes.Equal(b.Bytes()[:10], []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}) {
				t.Errorf("gzip header is % x", b.Bytes()[:10])
			}
		}
	}
	if _, err := codec.NewWriter(io.Discard, "lz4", 0); err == nil {
		t.Error("lz4 was accepted")
	}
}
