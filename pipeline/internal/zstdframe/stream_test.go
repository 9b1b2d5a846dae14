package zstdframe

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A stream is what the tests know of a zstd stream.
type stream struct {
	stored []byte
	plain  []byte
	frames []stored
}

// stored is a frame of a stream.
type stored struct {
	raw        []byte
	start, end int64 // of its plain bytes
	skippable  bool
}

func (s *stream) add(raw, plain []byte) {
	start := int64(len(s.plain))
	s.stored = append(s.stored, raw...)
	s.plain = append(s.plain, plain...)
	s.frames = append(s.frames, stored{raw: raw, start: start, end: int64(len(s.plain))})
}

func (s *stream) skip(n byte, content []byte) {
	raw := binary.LittleEndian.AppendUint32([]byte{0x50 | n, 0x2a, 0x4d, 0x18}, uint32(len(content)))
	s.add(append(raw, content...), nil)
	s.frames[len(s.frames)-1].skippable = true
}

// text is random, and compresses a little.
func text(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefgh \n"[r.IntN(10)]
	}
	if n > 0 && r.IntN(8) == 0 {
		clear(b[:r.IntN(n)]) // zeros: RLE blocks
	}
	return b
}

// whole is a frame that declares its size.
func whole(t testing.TB, plain []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, append(opts, zstd.WithZeroFrames(true), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))...)
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll(plain, nil)
}

// streamed is a frame that does not declare its size, with at least a block
// for each part.
func streamed(t testing.TB, parts [][]byte, opts ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	enc, err := zstd.NewWriter(&b, append(opts, zstd.WithZeroFrames(true), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if _, err := enc.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := enc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// byHand is a frame of raw, RLE and empty blocks, without size or checksum.
func byHand(r *rand.Rand) (raw, plain []byte) {
	raw = []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x38} // a window of 128 KiB
	for left := 1 + r.IntN(6); left > 0; left-- {
		last, size := uint32(0), uint32(r.IntN(3)*r.IntN(700))
		if left == 1 {
			last = 1
		}
		if r.IntN(2) == 0 {
			raw = append(raw, binary.LittleEndian.AppendUint32(nil, last|size<<3)[:3]...)
			p := text(r, int(size))
			raw, plain = append(raw, p...), append(plain, p...)
			continue
		}
		raw = append(raw, binary.LittleEndian.AppendUint32(nil, last|1<<1|size<<3)[:3]...)
		raw, plain = append(raw, 'r'), append(plain, bytes.Repeat([]byte("r"), int(size))...)
	}
	return raw, plain
}

// randomStream has frames of all kinds.
func randomStream(t testing.TB, r *rand.Rand) *stream {
	s := &stream{}
	for range r.IntN(9) {
		opts := []zstd.EOption{zstd.WithEncoderCRC(r.IntN(2) == 0), zstd.WithWindowSize(1 << (10 + r.IntN(8)))}
		size := []int{0, 1, 512, 3000, 40000}[r.IntN(5)]
		switch r.IntN(6) {
		case 0:
			s.skip(byte(r.IntN(16)), text(r, r.IntN(300)))
		case 1:
			s.add(byHand(r))
		case 2, 3:
			p := text(r, r.IntN(size+1))
			s.add(whole(t, p, opts...), p)
		default:
			var parts [][]byte
			for range r.IntN(4) {
				parts = append(parts, text(r, r.IntN(size+1)))
			}
			s.add(streamed(t, parts, opts...), bytes.Join(parts, nil))
		}
	}
	return s
}

// decode reads a stream with somebody else's decoder.
func decode(b []byte) ([]byte, error) {
	dec, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	return io.ReadAll(dec)
}

// choppy reads pieces of random sizes.
type choppy struct {
	b []byte
	r *rand.Rand
}

func (c *choppy) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1+c.r.IntN(1+c.r.IntN(4000)))], c.b)
	c.b = c.b[n:]
	return n, nil
}
