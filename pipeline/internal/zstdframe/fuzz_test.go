package zstdframe

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// FuzzTranscode wants the decoder and the model to agree with us on any stream
// and any edits.
func FuzzTranscode(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(randomStream(f, rand.New(rand.NewPCG(seed, 3))).stored, seed)
	}
	f.Add(joined(magic, 0, 0x38, 3, 0xff, 0xff, 'x'), uint64(1))
	const most = 1 << 20
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		dec, err := zstd.NewReader(bytes.NewReader(in), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			t.Fatal(err)
		}
		defer dec.Close()
		plain, err := io.ReadAll(io.LimitReader(dec, most+1))
		if len(plain) > most {
			return
		}
		r := rand.New(rand.NewPCG(seed, 5))
		s := &stream{plain: plain, stored: in}
		for range r.IntN(3) {
			if at := r.Int64N(int64(len(plain) + 1)); at > 0 {
				s.frames = append(s.frames, stored{start: at, end: at}) // a place for edits
			}
		}
		p := randomScript(r, s)
		if err != nil {
			p.plain = nil // who knows where it ends
		}
		hold := 0
		if seed%3 == 0 {
			hold = 1 + r.IntN(5000)
		}
		got := run(in, p, r, hold)
		again := run(in, p, r, hold)
		if !bytes.Equal(got.stored, again.stored) || got.res != again.res {
			t.Fatalf("reads of other sizes: %+v and %+v", got.res, again.res)
		}
		switch {
		case hold != 0 && errors.Is(got.err, ErrFallback):
			return
		case got.err != nil && bytes.Contains(in, bytes.Repeat([]byte{0xff}, 8)):
			return // a frame of 2^64-1 bytes is one of unknown size to the decoder
		case (got.err == nil) != (err == nil):
			t.Fatalf("we say %v, the decoder %v", got.err, err)
		case err != nil:
			return
		}
		now, err := decode(got.stored)
		if want := model(plain, p.edits()); err != nil || !bytes.Equal(now, want) {
			t.Fatalf("%d bytes (%v), want %d: %+v", len(now), err, len(want), got.res)
		}
		if !got.res.Changed && !bytes.Equal(got.stored, in) {
			t.Fatal("nothing changed, but the bytes did")
		}
	})
}
