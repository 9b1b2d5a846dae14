package zstdframe

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A layer is a tar of files, with the offsets of its headers.
type layer struct {
	plain   []byte
	headers []int64
	sizes   []int64
}

func newLayer(t testing.TB, r *rand.Rand, sizes ...int) *layer {
	t.Helper()
	var b bytes.Buffer
	l := &layer{}
	w := tar.NewWriter(&b)
	for i, size := range sizes {
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		l.headers, l.sizes = append(l.headers, int64(b.Len())), append(l.sizes, int64(size))
		h := &tar.Header{Name: fmt.Sprintf("f%d", i), Size: int64(size), Mode: 0o644, ModTime: time.Unix(1700000000, 0)}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text(r, size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l.plain = b.Bytes()
	return l
}

const mtimeAt, mtimeSize = 136, 12

// retimed looks at all headers and edits the time of those that change names.
func (l *layer) retimed(change func(i int) bool) *script {
	p := &script{plain: l.plain}
	for i, at := range l.headers {
		s := step{off: at, n: 512, settled: at}
		if change(i) {
			s.edits = []edit{{at + mtimeAt, mtimeSize, []byte("00000000001\x00")}}
		}
		p.steps = append(p.steps, s)
	}
	return p
}

func all(int) bool { return true }

// chunked is the layer as containers/storage writes it: frames of headers and
// of file contents, cut somewhere, from a streaming encoder, which declares the
// size of what fits into one block only; then skippable frames with the table
// of contents, tar-split data and the footer
// (pkg/chunked/compressor/compressor.go and internal/minimal/compression.go).
func (l *layer) chunked(t testing.TB) *stream {
	s := &stream{}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	put := func(to int64) {
		if to == at {
			return
		}
		var b bytes.Buffer
		enc.Reset(&b)
		if _, err := enc.Write(l.plain[at:to]); err != nil {
			t.Fatal(err)
		}
		if err := enc.Close(); err != nil {
			t.Fatal(err)
		}
		s.add(b.Bytes(), l.plain[at:to])
		at = to
	}
	for i, h := range l.headers {
		if l.sizes[i] == 0 {
			continue
		}
		put(h + 512)
		for end := at + l.sizes[i]; at < end; {
			put(min(end, at+300_000))
		}
	}
	put(int64(len(l.plain)))
	l.trailers(t, s)
	return s
}

func (l *layer) trailers(t testing.TB, s *stream) {
	toc := whole(t, []byte(`{"version":1,"entries":[]}`))
	position := uint64(len(s.stored)) + 8
	s.skip(0, toc)
	split := whole(t, []byte("tar-split"))
	s.skip(0, split)
	var footer []byte
	for _, v := range []uint64{position, uint64(len(toc)), 26, 1, position + uint64(len(toc)) + 8, uint64(len(split)), 9} {
		footer = binary.LittleEndian.AppendUint64(footer, v)
	}
	s.skip(0, append(footer, "GNUlInUx"...))
}

// seekable is the layer in frames of a fixed size, and a seek table.
func (l *layer) seekable(t testing.TB, size int) *stream {
	s := &stream{}
	var table []byte
	for rest := l.plain; len(rest) > 0; {
		p := rest[:min(size, len(rest))]
		rest = rest[len(p):]
		raw := whole(t, p)
		s.add(raw, p)
		table = binary.LittleEndian.AppendUint32(table, uint32(len(raw)))
		table = binary.LittleEndian.AppendUint32(table, uint32(len(p)))
	}
	table = binary.LittleEndian.AppendUint32(table, uint32(len(s.frames)))
	s.skip(0xe, append(table, 0, 0xb1, 0xea, 0x92, 0x8f))
	return s
}

func TestChunkedLayerKeepsTheFramesOfFiles(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	l := newLayer(t, r, 0, 100, 700_000, 0, 5000, 0)
	s := l.chunked(t)
	if res := check(t, s, l.retimed(all), 0); res != (Result{
		OldPlain: res.OldPlain, NewPlain: res.OldPlain, Stored: res.Stored, Changed: true,
		Frames: len(s.frames), Copied: 5, Recompressed: 4, Dropped: 3,
	}) {
		t.Errorf("%+v", res)
	}
	if res := check(t, s, l.retimed(func(int) bool { return false }), 0); res.Changed {
		t.Errorf("unchanged: %+v", res)
	}
	if res := check(t, s, l.retimed(func(i int) bool { return i == 4 }), 0); res.Recompressed != 1 || res.Dropped != 3 {
		t.Errorf("one header changed: %+v", res)
	}
}

func TestSeekableLayerKeepsFramesAndLosesItsTable(t *testing.T) {
	t.Parallel()
	l := newLayer(t, rand.New(rand.NewPCG(1, 2)), 100, 1_000_000, 5000)
	s := l.seekable(t, 64<<10)
	res := check(t, s, l.retimed(all), 0)
	if res.Recompressed != 2 || res.Dropped != 1 || res.Copied != len(s.frames)-3 {
		t.Errorf("%+v", res)
	}
}

// A deleted file of frames of its own vanishes with them.
func TestDeletedFramesVanish(t *testing.T) {
	t.Parallel()
	l := newLayer(t, rand.New(rand.NewPCG(1, 3)), 100, 700_000, 5000)
	s := l.chunked(t)
	p := l.retimed(func(int) bool { return false })
	p.steps[1].edits = []edit{{l.headers[1], l.headers[2] - l.headers[1], nil}}
	if res := check(t, s, p, 0); res.Dropped != 3+3 || res.Copied != 4 || res.Recompressed != 2 {
		t.Errorf("%+v", res)
	}
	p.steps = p.steps[:1]
	p.steps[0].edits = []edit{{0, -1, nil}}
	if res := check(t, s, p, 0); res.NewPlain != 0 || res.Dropped != len(s.frames) {
		t.Errorf("all deleted: %+v", res)
	}
}

// A frame that does not declare its size is copied up to the block that
// changes.
func TestUnsizedFrameIsCopiedUpToTheChange(t *testing.T) {
	t.Parallel()
	l := newLayer(t, rand.New(rand.NewPCG(1, 4)), 3_000_000, 100, 3_000_000)
	for _, crc := range []bool{true, false} {
		s := &stream{}
		s.add(streamed(t, [][]byte{l.plain}, zstd.WithEncoderCRC(crc)), l.plain)
		p := l.retimed(func(i int) bool { return i == 2 })
		check(t, s, p, 0)
		got := run(s.stored, p, rand.New(rand.NewPCG(1, 1)), 100_000)
		if got.err != nil || got.res.Recompressed != 1 {
			t.Fatalf("%+v, %v", got.res, got.err)
		}
		same := 0
		for same < len(got.stored) && got.stored[same] == s.stored[same] {
			same++
		}
		if same < len(s.stored)*2/5 {
			t.Errorf("only %d of %d bytes were copied", same, len(s.stored))
		}
	}
}

func TestZstdCommandReadsTheOutput(t *testing.T) {
	t.Parallel()
	command, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("no zstd command")
	}
	l := newLayer(t, rand.New(rand.NewPCG(1, 5)), 0, 100, 700_000, 5000)
	byCommand := &stream{}
	for _, args := range [][]string{{"-3"}, {"-1", "--no-check"}, {"-19", "--long=24"}} { // frames in a row
		zip := exec.CommandContext(t.Context(), command, append(args, "-c")...)
		zip.Stdin = bytes.NewReader(l.plain)
		raw, err := zip.Output()
		if err != nil {
			t.Fatal(err)
		}
		byCommand.add(raw, l.plain)
	}
	for name, s := range map[string]*stream{"chunked": l.chunked(t), "seekable": l.seekable(t, 50_000), "by zstd": byCommand} {
		p := l.retimed(func(i int) bool { return i > 1 })
		p.plain = nil
		check(t, s, p, 0)
		got := run(s.stored, p, rand.New(rand.NewPCG(1, 1)), 0)
		unzip := exec.CommandContext(t.Context(), command, "-dc")
		unzip.Stdin = bytes.NewReader(got.stored)
		plain, err := unzip.Output()
		if err != nil || !bytes.Equal(plain, model(s.plain, p.edits())) {
			t.Errorf("%s: %d bytes, %v", name, len(plain), err)
		}
	}
}
