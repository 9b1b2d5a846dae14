package zstdframe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

var magic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// joined makes bytes of what is easily written down.
func joined(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			b = append(b, p...)
		case string:
			b = append(b, p...)
		case int:
			b = append(b, byte(p))
		}
	}
	return b
}

func TestUnsoundStreamsAreErrors(t *testing.T) {
	t.Parallel()
	good := whole(t, []byte(strings.Repeat("0123456789", 1000)))
	empty := joined(magic, 0, 0x38, 1, 0, 0)
	checksum := bytes.Clone(good)
	checksum[len(checksum)-1] ^= 1
	for name, c := range map[string]struct {
		in []byte
		at string // in the message
	}{
		"cut in a block":         {good[:len(good)-10], fmt.Sprintf("byte %d:", len(good)-10)},
		"cut in a header":        {good[:5], "byte 0:"},
		"cut in a magic number":  {joined(empty, magic[:3]), "byte 9:"},
		"cut skippable frame":    {joined(empty, "\x50\x2a\x4d\x18", 9, 0, 0, 0, "short"), "byte 22:"},
		"trailing garbage":       {joined(good, "garbage, some more of it"), fmt.Sprintf("byte %d:", len(good))},
		"trailing zeros":         {joined(good, make([]byte, 512)), fmt.Sprintf("byte %d:", len(good))},
		"not zstd at all":        {[]byte(strings.Repeat("x", 100)), "byte 0:"},
		"legacy frame of v0.7":   {joined(empty, "\x27\xb5\x2f\xfd", good[4:]), "byte 9:"},
		"wrong checksum":         {checksum, "byte 0"},
		"reserved header bit":    {joined(empty, magic, 8, 0x38, 1, 0, 0), "byte 9:"},
		"reserved block type":    {joined(magic, 0, 0x38, 7, 0, 0, 0), "byte "},
		"block too large":        {joined(magic, 0, 0x38, 1, 0x01, 0x80, make([]byte, 2<<20)), "byte 6"},
		"block beyond a window":  {joined(magic, 0, 0, 0x01, 0x40, 0, make([]byte, 2048)), "byte 0"},
		"window of 256 MiB":      {joined(magic, 0, 18<<3, 1, 0, 0), "byte 0"},
		"declares too little":    {joined(magic, 0x20, 2, 3<<3|1, 0, 0, "abc"), "byte "},
		"declares too much":      {joined(magic, 0x20, 4, 3<<3|1, 0, 0, "abc"), "byte "},
		"declares far too much":  {joined(magic, 0xc0, 0x38, make([]byte, 7), 0x80, 1, 0, 0), "byte 0"},
		"single segment too big": {joined(magic, 0xa0, 0, 0, 0, 0xf0, 1, 0, 0), "byte 0"},
		"unknown dictionary":     {joined(magic, 1, 0x38, 77, 1, 0, 0), "byte 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(c.in, &script{}, rand.New(rand.NewPCG(1, 1)), 0)
			if !errors.Is(got.err, ErrFormat) || !strings.Contains(got.err.Error(), c.at) {
				t.Errorf("%v, want one at %q", got.err, c.at)
			}
			if _, err := decode(c.in); err == nil {
				t.Error("the decoder takes it")
			}
		})
	}
}

func TestErrorsComeAsTheyAre(t *testing.T) {
	t.Parallel()
	in := whole(t, []byte("hello"))
	down := errors.New("down")
	read := io.MultiReader(bytes.NewReader(in[:7]), iotest.ErrReader(down))
	if _, err := Transcode(io.Discard, read, &script{}, Options{}); !errors.Is(err, down) || errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	if _, err := Transcode(failing{down}, bytes.NewReader(in), &script{}, Options{}); !errors.Is(err, down) || errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	if _, err := Transcode(io.Discard, bytes.NewReader(in), &script{}, Options{Limit: 4}); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	if _, err := Transcode(io.Discard, bytes.NewReader(in), &script{}, Options{Limit: 5}); err != nil {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestPatcherMustKeepItsContract(t *testing.T) {
	t.Parallel()
	in := whole(t, make([]byte, 1000))
	for name, steps := range map[string][]step{
		"region too large":       {{n: maxRegion + 1}},
		"negative region":        {{n: -1}},
		"region twice":           {{n: 10}, {off: 9, n: 10}},
		"region in an edit":      {{n: 10, edits: []edit{{5, 10, nil}}}, {off: 12, n: 1}},
		"edit of what's settled": {{off: 50, n: 10, settled: 40, edits: []edit{{39, 1, nil}}}},
		"edits that overlap":     {{n: 10, edits: []edit{{2, 5, nil}, {6, 1, nil}}}},
		"edits out of order":     {{n: 10, edits: []edit{{6, 0, []byte("a")}, {5, 0, []byte("a")}}}},
		"edit behind all":        {{n: 10, edits: []edit{{5, -1, nil}, {7, 0, []byte("a")}}}},
		"edit beyond the end":    {{n: 10, edits: []edit{{1001, 0, []byte("a")}}}},
		"and from there":         {{off: 2000, n: 10, edits: []edit{{1001, 0, []byte("a")}}}},
	} {
		if got := run(in, &script{steps: steps}, rand.New(rand.NewPCG(1, 1)), 0); !errors.Is(got.err, ErrPatcher) {
			t.Errorf("%s: %v", name, got.err)
		}
	}
}

// Nothing has changed in the first 4 MiB, the frame is large, and it may change
// yet: only then is it better compressed anew.
func TestFallback(t *testing.T) {
	t.Parallel()
	plain := text(rand.New(rand.NewPCG(1, 1)), 6<<20)
	look := func(offs ...int64) *script {
		p := &script{plain: plain}
		for _, off := range offs {
			p.steps = append(p.steps, step{off: off, n: 512, settled: off})
		}
		return p
	}
	sized, unsized := whole(t, plain), streamed(t, [][]byte{plain})
	for name, c := range map[string]struct {
		in   []byte
		p    *script
		edit int // the step that edits
		want error
	}{
		"no change near the start":       {sized, look(0, 3<<20, 5<<20), 2, ErrFallback},
		"a change near the start":        {sized, look(0, 3<<20, 5<<20), 0, nil},
		"nobody looks":                   {sized, look(), -1, nil},
		"somebody looks and is done":     {sized, look(0), -1, nil},
		"without a size, it is cut":      {unsized, look(0, 3<<20, 5<<20), 2, nil},
		"without a size, without change": {unsized, look(0, 3<<20, 5<<20), -1, nil},
	} {
		if c.edit >= 0 {
			c.p.steps[c.edit].edits = []edit{{c.p.steps[c.edit].off + 5, 3, []byte("xyz")}}
		}
		if got := run(c.in, c.p, rand.New(rand.NewPCG(1, 1)), 0); !errors.Is(got.err, c.want) {
			t.Errorf("%s: %v", name, got.err)
		}
	}
	unsettled := &script{steps: []step{{off: 5 << 20, n: 10}}}
	if got := run(unsized, unsettled, rand.New(rand.NewPCG(1, 1)), 0); !errors.Is(got.err, ErrFallback) {
		t.Errorf("a patcher that settles nothing: %v", got.err)
	}
}

// Floods of empty blocks and of empty frames are held only so far.
func TestFloodsAreBounded(t *testing.T) {
	t.Parallel()
	p := &script{steps: []step{{off: 10, n: 10}}}
	blocks := joined(magic, 0, 0x38, 1<<3, 0, 0, "x", bytes.Repeat([]byte{0, 0, 0}, 2<<20), 1, 0, 0)
	frames := joined(magic, 0, 0x38, 1<<3|1, 0, 0, "x", bytes.Repeat(joined(magic, 0x20, 0, 1, 0, 0), 40_000))
	skip := joined(magic, 0, 0x38, 1<<3|1, 0, 0, "x", "\x50\x2a\x4d\x18", binary.LittleEndian.AppendUint32(nil, 5<<20), make([]byte, 5<<20))
	for name, in := range map[string][]byte{"blocks": blocks, "frames": frames, "skippable": skip} {
		if got := run(in, p, rand.New(rand.NewPCG(1, 1)), 0); !errors.Is(got.err, ErrFallback) {
			t.Errorf("%s: %v", name, got.err)
		}
	}
}

func TestChecksumIsThatOfTheFormat(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 9))
	for n := range 200 {
		n++ // the encoder gives an empty frame none
		p := text(r, n)
		var x xxh64
		for rest := p; len(rest) > 0; {
			k := 1 + r.IntN(len(rest))
			x.write(rest[:k])
			rest = rest[k:]
		}
		raw := whole(t, p, zstd.WithEncoderCRC(true))
		if want := binary.LittleEndian.Uint32(raw[len(raw)-4:]); uint32(x.sum()) != want {
			t.Fatalf("%d bytes: %x, want %x", n, uint32(x.sum()), want)
		}
	}
}
