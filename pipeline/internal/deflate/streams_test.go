package deflate_test

import (
	"archive/tar"
	"bytes"
	stdgzip "compress/gzip"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	kgzip "github.com/klauspost/compress/gzip"
)

// makeTar builds a tar of about size bytes: text, random bytes, zeros, repeats
// from before, headers of three dialects.
func makeTar(r *rand.Rand, size int) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	words := make([]string, 300)
	for i := range words {
		words[i] = fmt.Sprintf("%x%d ", r.IntN(1<<20), r.IntN(50))
	}
	for i := 0; buf.Len() < size; i++ {
		data := content(r, buf.Bytes(), words)
		h := &tar.Header{
			Name: fmt.Sprintf("dir%d/%s%d", r.IntN(20), words[r.IntN(300)], i), Mode: 0o644, Size: int64(len(data)),
			ModTime: time.Unix(1500000000+int64(r.IntN(1e8)), 0), Format: tar.FormatUSTAR,
		}
		switch r.IntN(20) {
		case 0:
			h.Format = tar.FormatGNU
			h.Name += string(bytes.Repeat([]byte("long"), 60))
		case 1, 2:
			h.Format = tar.FormatPAX
			h.ModTime = h.ModTime.Add(time.Duration(r.IntN(1e9)))
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		_, _ = w.Write(data)
	}
	_ = w.Close()
	return buf.Bytes()
}

func content(r *rand.Rand, before []byte, words []string) []byte {
	text := func(n int) (b []byte) {
		for len(b) < n {
			b = append(b, words[r.IntN(len(words))]...)
		}
		return b
	}
	switch r.IntN(6) {
	case 0:
		b := make([]byte, r.IntN(2000))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	case 1:
		return make([]byte, r.IntN(100000))
	case 2:
		return text(r.IntN(100000))
	case 3:
		return text(r.IntN(300))
	case 4:
		if len(before) > 0 {
			a := r.IntN(len(before))
			return bytes.Clone(before[a:min(len(before), a+r.IntN(60000))])
		}
	}
	return nil
}

// A compressor makes a gzip stream of plain bytes.
type compressor struct {
	name string
	make func(t testing.TB, plain []byte) []byte // nil: it is not installed
}

func compressors() []compressor {
	all := []compressor{
		{"Go 1", func(_ testing.TB, b []byte) []byte { return stdGzip(b, 1) }},
		{"Go 6", func(_ testing.TB, b []byte) []byte { return stdGzip(b, 6) }},
		{"Go stored", func(_ testing.TB, b []byte) []byte { return stdGzip(b, 0) }},
		{"Go Huffman only", func(_ testing.TB, b []byte) []byte { return stdGzip(b, stdgzip.HuffmanOnly) }},
		{"klauspost 1", func(_ testing.TB, b []byte) []byte { return kGzip(b, 1) }},
		{"klauspost 6", func(_ testing.TB, b []byte) []byte { return kGzip(b, 6) }},
		{"klauspost 9", func(_ testing.TB, b []byte) []byte { return kGzip(b, 9) }},
		{"klauspost stateless", func(_ testing.TB, b []byte) []byte { return kGzip(b, kgzip.StatelessCompression) }},
		{"flushed", func(_ testing.TB, b []byte) []byte { return flushed(b) }},
		{"members", func(_ testing.TB, b []byte) []byte { return members(b) }},
	}
	for _, tool := range [][]string{
		{"gzip", "-1"}, {"gzip", "-9"}, {"pigz", "-6"}, {"pigz", "-p1", "-1"}, {"pigz", "-Hn", "-H", "-3"}, {"pigz", "-i", "-b128"},
		{"pigz", "-11"}, {"igzip", "-0"}, {"igzip", "-1"}, {"igzip", "-3"}, {"zopfli", "-c", "--i1"},
	} {
		all = append(all, compressor{fmt.Sprint(tool), func(t testing.TB, b []byte) []byte { return run(t, b, tool...) }})
	}
	return all
}

// run filters plain through a tool, if it is installed.
func run(t testing.TB, plain []byte, tool ...string) []byte {
	path, err := exec.LookPath(tool[0])
	if err != nil {
		return nil
	}
	args := tool[1:]
	if tool[0] == "zopfli" {
		name := t.TempDir() + "/in"
		if err := writeFile(name, plain); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	} else {
		args = append(args, "-c")
	}
	c := exec.CommandContext(t.Context(), path, args...)
	c.Stdin = bytes.NewReader(plain)
	out, err := c.Output()
	if err != nil {
		t.Logf("%v: %v", tool, err)
		return nil
	}
	return out
}

func stdGzip(b []byte, level int) []byte {
	var o bytes.Buffer
	w, _ := stdgzip.NewWriterLevel(&o, level)
	w.Name, w.Comment, w.Extra = "n", "c", []byte("xyz")
	_, _ = w.Write(b)
	_ = w.Close()
	return o.Bytes()
}

func kGzip(b []byte, level int) []byte {
	var o bytes.Buffer
	w, _ := kgzip.NewWriterLevel(&o, level)
	_, _ = w.Write(b)
	_ = w.Close()
	return o.Bytes()
}

// flushed has empty stored blocks in it, and blocks of all sizes.
func flushed(b []byte) []byte {
	var o bytes.Buffer
	w, _ := kgzip.NewWriterLevel(&o, 6)
	for n := 1; len(b) > 0; n = n*3%70000 + 1 {
		k := min(n, len(b))
		_, _ = w.Write(b[:k])
		_ = w.Flush()
		b = b[k:]
	}
	_ = w.Close()
	return o.Bytes()
}

// members has one for each piece, some empty, as eStargz has.
func members(b []byte) []byte {
	var o bytes.Buffer
	for n := 0; ; n = (n*5 + 512) % 90000 {
		k := min(n, len(b))
		o.Write(kGzip(b[:k], []int{1, 6, 0}[n%3]))
		if b = b[k:]; len(b) == 0 {
			return o.Bytes()
		}
	}
}
