package pgzip_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"

	"github.com/occystrap/occystrap/pipeline/internal/pgzip"
)

// text is n bytes of words, the common ones more often, as prose and code are.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 5000)
	for i := range words {
		words[i] = fmt.Sprintf("%x", r.Uint64()>>(20+r.IntN(36)))
	}
	b := make([]byte, 0, n+20)
	for len(b) < n {
		b = append(b, words[int(float64(len(words))*r.Float64()*r.Float64())]...)
		b = append(b, " \n"[r.IntN(8)/7])
	}
	return b[:n]
}

// binaries is n bytes as programs are: instructions that look alike with
// addresses that differ, tables, gaps of zeros, and what does not compress.
func binaries(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	ops := []string{"\x48\x8b\x05", "\xe8", "\x48\x89\xc7", "\x0f\x1f\x44\x00\x00", "\x48\x8d\x3d", "\xc3\x90"}
	b := make([]byte, 0, n+8192)
	for len(b) < n {
		switch r.IntN(40) {
		case 0:
			b = append(b, make([]byte, r.IntN(4096))...)
		case 1:
			for range r.IntN(4096) {
				b = append(b, byte(r.Uint32()))
			}
		case 2:
			for i := range r.IntN(500) {
				b = binary.LittleEndian.AppendUint64(b, uint64(0x400000+i*48))
			}
		default:
			for range r.IntN(300) {
				b = append(b, ops[r.IntN(len(ops))]...)
				b = binary.LittleEndian.AppendUint32(b, r.Uint32N(1<<14))
			}
		}
	}
	return b[:n]
}

// archive is a tar of about n bytes, of many small and some large files.
func archive(t testing.TB, n int) []byte {
	r := rand.New(rand.NewPCG(5, 6))
	words, code := text(n), binaries(n)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; b.Len() < n; i++ {
		from, size := words, r.IntN(20000)
		if i%7 == 0 {
			from, size = code, r.IntN(300000)
		}
		size = min(size, n/2)
		at := r.IntN(n - size)
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("usr/share/pkg%d/file%d", i%9, i), Mode: 0o644, Size: int64(size)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(from[at : at+size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// oneStream is what one compressor of the library makes of p.
func oneStream(t testing.TB, p []byte, level int) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out := b.Bytes()
	clear(out[4:8]) // it writes the zero time as a number of its own
	return out
}

// canonical is the form that the package promises, made the slow way: every
// chunk by a compressor that was never used before.
func canonical(t testing.TB, p []byte, level int) []byte {
	const dict = 32 << 10
	b := bytes.NewBuffer(bytes.Clone(oneStream(t, nil, level)[:10]))
	for at := 0; at == 0 || at < len(p); at += pgzip.ChunkSize {
		end := min(at+pgzip.ChunkSize, len(p))
		w, err := flate.NewWriterDict(b, level, p[max(0, at-dict):at])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(p[at:end]); err != nil {
			t.Fatal(err)
		}
		finish := w.Flush
		if end == len(p) {
			finish = w.Close
		}
		if err := finish(); err != nil {
			t.Fatal(err)
		}
	}
	out := binary.LittleEndian.AppendUint32(b.Bytes(), crc32.ChecksumIEEE(p))
	return binary.LittleEndian.AppendUint32(out, uint32(len(p)))
}

// compress is what a Writer makes of p when it comes in pieces of the sizes
// that piece gives.
func compress(t testing.TB, p []byte, level int, piece func() int) []byte {
	var b bytes.Buffer
	w, err := pgzip.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for len(p) > 0 {
		n := min(piece(), len(p))
		if m, err := w.Write(p[:n]); err != nil || m != n {
			t.Fatal(m, err)
		}
		p = p[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// pieces are those that our tar writer writes in.
func pieces() int { return 128 << 10 }
