package zstdframe

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"testing"
)

// outcome is all that a transcoding gives.
type outcome struct {
	stored   []byte
	res      Result
	old, new [sha256.Size]byte
	err      error
}

func run(src []byte, p *script, reads *rand.Rand, hold int) outcome {
	var dst bytes.Buffer
	was, is := sha256.New(), sha256.New()
	p.i = 0
	res, err := Transcode(&dst, &choppy{src, reads}, p, Options{OldHash: was, NewHash: is, hold: hold})
	return outcome{dst.Bytes(), res, [32]byte(was.Sum(nil)), [32]byte(is.Sum(nil)), err}
}

// check compares a transcoding with the model.
func check(t *testing.T, s *stream, p *script, hold int) Result {
	t.Helper()
	got := run(s.stored, p, rand.New(rand.NewPCG(1, 2)), hold)
	again := run(s.stored, p, rand.New(rand.NewPCG(3, 4)), hold)
	if !bytes.Equal(got.stored, again.stored) || got.res != again.res {
		t.Fatalf("reads of other sizes give %+v, not %+v", again, got.res)
	}
	if errors.Is(got.err, ErrFallback) && hold != 0 {
		return got.res
	}
	if got.err != nil {
		t.Fatal(got.err)
	}
	want := model(s.plain, p.edits())
	plain, err := decode(got.stored)
	if err != nil || !bytes.Equal(plain, want) {
		t.Fatalf("%d bytes (%v), want %d; %+v", len(plain), err, len(want), got.res)
	}
	res := got.res
	if res.OldPlain != int64(len(s.plain)) || res.NewPlain != int64(len(want)) || res.Stored != int64(len(got.stored)) {
		t.Errorf("wrong sizes: %+v", res)
	}
	if res.Frames != len(s.frames) || res.Frames != res.Copied+res.Recompressed+res.Dropped {
		t.Errorf("wrong counts for %d frames: %+v", len(s.frames), res)
	}
	if got.old != sha256.Sum256(s.plain) || got.new != sha256.Sum256(want) {
		t.Error("wrong hashes")
	}
	if !res.Changed && !bytes.Equal(got.stored, s.stored) {
		t.Error("nothing changed, but the bytes did")
	}
	if hold == 0 {
		checkCopied(t, s, p.edits(), got)
	}
	return res
}

// checkCopied looks for the frames that no edit touches.
func checkCopied(t *testing.T, s *stream, edits []edit, got outcome) {
	t.Helper()
	at := 0
	for i, f := range s.frames {
		touched := f.start == f.end // nobody misses an empty one
		for _, c := range edits {
			from, to := c.off, c.end()
			touched = touched || from < f.end && f.start < to || f.start < from && from < f.end
			touched = touched || f.skippable && (c.old != 0 || len(c.with) > 0) && from <= f.start
		}
		if touched {
			continue
		}
		n := bytes.Index(got.stored[at:], f.raw)
		if n < 0 {
			t.Fatalf("frame %d of %d is not there: %+v", i, len(s.frames), got.res)
		}
		at += n + len(f.raw)
	}
}

func TestOutputIsWhatTheModelSays(t *testing.T) {
	t.Parallel()
	const rounds = 120
	var sum Result
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := randomStream(t, r)
		p := randomScript(r, s)
		res := check(t, s, p, 0)
		check(t, s, p, 1+r.IntN(5000)) // the same where little may be held
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		sum.Copied += res.Copied
		sum.Recompressed += res.Recompressed
		sum.Dropped += res.Dropped
	}
	if sum.Copied < rounds/4 || sum.Recompressed < rounds/4 || sum.Dropped < rounds/8 {
		t.Errorf("the test is one-sided: %+v", sum)
	}
}

func TestNoEditIsTheSameBytes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 8))
		s := randomStream(t, r)
		p := randomScript(r, s)
		for i := range p.steps {
			p.steps[i].edits = nil
		}
		if res := check(t, s, p, 0); res.Changed || res.Copied != res.Frames {
			t.Fatalf("seed %d: %+v", seed, res)
		}
	}
}
