package deflate_test

import (
	"archive/tar"
	"bytes"
	stdgzip "compress/gzip"
	"fmt"
	"math/rand/v2"
	"os"
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
	slow bool                                    // by a factor of a hundred
}

// compress makes the stream, or skips the test.
func (c compressor) compress(t testing.TB, plain []byte) []byte {
	t.Helper()
	in := c.make(t, plain)
	if in == nil {
		t.Skip("it is not installed")
	}
	return in
}

func compressors() []compressor {
	var all []compressor
	add := func(name string, f func([]byte) []byte) {
		all = append(all, compressor{name: name, make: func(_ testing.TB, b []byte) []byte { return f(b) }})
	}
	for name, level := range map[string]int{"1": 1, "6": 6, "stored": 0, "Huffman only": stdgzip.HuffmanOnly} {
		add("Go "+name, func(b []byte) []byte { return stdGzip(b, level) })
	}
	for name, level := range map[string]int{"1": 1, "6": 6, "9": 9, "stateless": kgzip.StatelessCompression} {
		add("klauspost "+name, func(b []byte) []byte { return kGzip(b, level) })
	}
	add("flushed", flushed)
	add("members", members)
	for _, tool := range [][]string{
		{"gzip", "-1"},
		{"gzip", "-9"},
		{"pigz", "-6"},
		{"pigz", "-p1", "-1"},
		{"pigz", "-Hn", "-H", "-3"},
		{"pigz", "-i", "-b128"},
		{"pigz", "-11"},
		{"igzip", "-0"},
		{"igzip", "-1"},
		{"igzip", "-3"},
		{"zopfli", "-c", "--i1"},
	} {
		all = append(all, compressor{
			name: fmt.Sprint(tool),
			make: func(t testing.TB, b []byte) []byte { return compressedBy(t, b, tool...) },
			slow: tool[0] == "zopfli" || tool[1] == "-11",
		})
	}
	return all
}

// compressedBy is plain through a tool, if it is installed.
func compressedBy(t testing.TB, plain []byte, tool ...string) []byte {
	if tool[0] != "zopfli" {
		return run(t, plain, append(tool[:1:1], append([]string{"-c"}, tool[1:]...)...)...)
	}
	name := t.TempDir() + "/in"
	if err := os.WriteFile(name, plain, 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t, nil, append(tool[:len(tool):len(tool)], name)...)
}

// run filters bytes through a tool, if it is installed.
func run(t testing.TB, in []byte, tool ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(tool[0])
	if err != nil {
		return nil
	}
	c := exec.CommandContext(t.Context(), path, tool[1:]...)
	c.Stdin = bytes.NewReader(in)
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
