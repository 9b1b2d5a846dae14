package deflate_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

var errTest = errors.New("as a test wants it")

// failing is a Writer, or a Reader of r, that fails after n bytes.
type failing struct {
	r io.Reader
	n int
	// bytes that it was asked for
	asked int
}

func (f *failing) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errTest
	}
	return len(p), nil
}

func (f *failing) Read(p []byte) (int, error) {
	if f.n <= 0 {
		return 0, errTest
	}
	n, err := f.r.Read(p[:min(len(p), f.n)])
	f.n -= n
	f.asked += n
	return n, err
}

func TestErrorsOfBothSidesComeOut(t *testing.T) {
	before := runtime.NumGoroutine()
	plain := makeTar(rand.New(rand.NewPCG(5, 5)), 1<<20)
	in := kGzip(plain, 1)
	patch := each(edit{100, 3, []byte("###")}, edit{5000, 30, nil}, edit{300000, 0, plain[:9000]}, edit{400000, 1, bytes.Repeat([]byte("x"), 900)})
	for n := 0; n < len(in); n += len(in)/20 - 1 {
		_, err := deflate.Transcode(io.Discard, &failing{r: bytes.NewReader(in), n: n}, patch.again(), deflate.Options{})
		if !errors.Is(err, errTest) {
			t.Errorf("src fails at %d: %v", n, err)
		}
		_, err = deflate.Transcode(&failing{n: n}, bytes.NewReader(in), patch.again(), deflate.Options{})
		if !errors.Is(err, errTest) {
			t.Errorf("dst fails at %d: %v", n, err)
		}
		_, err = deflate.Transcode(io.Discard, bytes.NewReader(in[:n]), patch.again(), deflate.Options{})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("src ends at %d: %v", n, err)
		}
		damaged := bytes.Clone(in)
		damaged[len(in)-1-n/8] ^= 4
		if _, err = deflate.Transcode(io.Discard, bytes.NewReader(damaged), patch.again(), deflate.Options{}); err == nil {
			t.Errorf("damage before the end was not seen")
		}
	}
	noGoroutines(t, before)
}

// noGoroutines waits for those that this test started. It is not parallel.
func noGoroutines(t *testing.T, before int) {
	t.Helper()
	for range 60_000 { // a minute, on a machine that has no time for it
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // a goroutine that ends tells nobody
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestNothingIsReadOnceTheOutputFailed(t *testing.T) {
	t.Parallel()
	random := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	src := &failing{r: bytes.NewReader(stdGzip(random, 0)), n: math.MaxInt}
	_, err := deflate.Transcode(&failing{n: 1000}, src, each(), deflate.Options{})
	if !errors.Is(err, errTest) || src.asked > 1<<20 {
		t.Errorf("%v after %d bytes", err, src.asked)
	}
}

func TestLimit(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, in := range [][]byte{kGzip(make([]byte, 64<<20), 1), append(kGzip(make([]byte, 600), 1), kGzip(make([]byte, 401), 1)...)} {
		_, err := deflate.Transcode(io.Discard, bytes.NewReader(in), each(edit{10, 3, nil}), deflate.Options{Limit: 1000})
		if !errors.Is(err, deflate.ErrLimit) {
			t.Error(err)
		}
	}
	if _, err := deflate.Transcode(io.Discard, bytes.NewReader(kGzip(make([]byte, 1000), 1)), each(), deflate.Options{Limit: 1000}); err != nil {
		t.Error(err)
	}
	noGoroutines(t, before)
}

func TestPatcherThatBreaksItsContract(t *testing.T) {
	before := runtime.NumGoroutine()
	plain := makeTar(rand.New(rand.NewPCG(6, 6)), 300<<10)
	in := kGzip(plain, 6)
	one := func(e ...edit) []step { return []step{{100, 50, 90, e}, {200, 50, 200, nil}} }
	for name, list := range map[string][]step{
		"a region before the last":    {{100, 5, 100, nil}, {90, 5, 90, nil}},
		"settled behind the region":   {{100, 5, 101, nil}},
		"settled less than before":    {{100, 5, 100, nil}, {200, 5, 99, nil}},
		"a long region":               {{100, deflate.MaxRegion + 1, 100, nil}},
		"a region of less than none":  {{100, -1, 100, nil}},
		"a negative region":           {{-5, 5, -5, nil}},
		"negative settled":            {{5, 5, -5, nil}},
		"before settled":              one(edit{89, 1, nil}),
		"in what was replaced":        one(edit{100, 10, nil}, edit{109, 1, nil}),
		"behind the end of all":       one(edit{100, -1, nil}, edit{110, 1, nil}),
		"at an offset of less than 0": one(edit{-1, 1, nil}),
		"far out":                     one(edit{math.MaxInt64 - 3, 1, []byte("x")}),
		"far out, through the end":    one(edit{math.MaxInt64 - 3, -1, []byte("x")}),
		"behind the stream":           one(edit{int64(len(plain)) + 1, 0, []byte("x")}),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := deflate.Transcode(io.Discard, bytes.NewReader(in), &steps{list: list}, deflate.Options{}); err == nil {
				t.Error("no error")
			}
		})
	}
	for name, list := range map[string][]step{
		"a region far out": {{math.MaxInt64, 5, 10, nil}},
		"settled far out":  {{math.MaxInt64 - 5, deflate.MaxRegion, math.MaxInt64 - 5, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := deflate.Transcode(io.Discard, bytes.NewReader(in), &steps{list: list}, deflate.Options{}); err != nil && !errors.Is(err, deflate.ErrFallback) {
				t.Error(err)
			}
		})
	}
	if _, err := deflate.Transcode(io.Discard, bytes.NewReader(in), &steps{list: one(), err: errTest}, deflate.Options{}); !errors.Is(err, errTest) {
		t.Errorf("the patcher's error: %v", err)
	}
	noGoroutines(t, before)
}
