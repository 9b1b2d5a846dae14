package zstdframe

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/occystrap/occystrap/pipeline/internal/codec"
)

// benchLayer is a tar of files like those of a distribution: many small ones,
// a few large ones.
func benchLayer(b *testing.B) *layer {
	r := rand.New(rand.NewPCG(1, 10))
	var sizes []int
	for range 600 {
		sizes = append(sizes, 200+r.IntN(8000), 4000+r.IntN(60_000))
	}
	for range 10 {
		sizes = append(sizes, 2_000_000)
	}
	return newLayer(b, r, sizes...)
}

// BenchmarkRetime edits every header of a zstd:chunked layer: with the frames
// of files copied, and as one stream that is compressed anew.
func BenchmarkRetime(b *testing.B) {
	l := benchLayer(b)
	s := l.chunked(b)
	p := l.retimed(all)
	p.plain = nil
	b.Run("frames", func(b *testing.B) {
		b.SetBytes(int64(len(l.plain)))
		b.ReportAllocs()
		for b.Loop() {
			p.i = 0
			res, err := Transcode(io.Discard, bytes.NewReader(s.stored), p, Options{OldHash: sha256.New(), NewHash: sha256.New()})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(res.Stored)/float64(len(s.stored)), "new/old")
		}
	})
	b.Run("anew", func(b *testing.B) {
		b.SetBytes(int64(len(l.plain)))
		b.ReportAllocs()
		for b.Loop() {
			recompress(b, s.stored)
		}
	})
}

// recompress decodes, hashes both sides and compresses; what an edit would
// cost is left out.
func recompress(b *testing.B, in []byte) {
	plain, _, err := codec.NewReader(bytes.NewReader(in))
	if err != nil {
		b.Fatal(err)
	}
	defer plain.Close()
	w, err := codec.NewWriter(io.Discard, codec.Zstd, 0)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.MultiWriter(sha256.New(), sha256.New(), w), plain); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}
