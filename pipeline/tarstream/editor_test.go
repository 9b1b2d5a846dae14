package tarstream_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

func TestEditorAgreesWithRead(t *testing.T) {
	t.Parallel()
	inputs := samples(t)
	for name, in := range oddities() {
		inputs[name] = in
	}
	for name, in := range samples(t) {
		inputs["no end of archive, "+name] = bytes.TrimRight(in, "\x00")
		inputs["long tail, "+name] = append(bytes.Clone(in), make([]byte, 100_000)...)
		inputs["text behind, "+name] = append(bytes.Clone(in), bytes.Repeat([]byte("trailing"), 5000)...)
	}
	for chain, f := range chains() {
		t.Run(chain, func(t *testing.T) {
			t.Parallel()
			for name, in := range inputs {
				t.Log(name)
				same(t, in, 0, f)
			}
		})
	}
}

func TestEditorAgreesWithReadOnATarThatIsCutOff(t *testing.T) {
	t.Parallel()
	in := three()
	for chain, f := range chains() {
		t.Run(chain, func(t *testing.T) {
			t.Parallel()
			step := 61
			if chain == "times" || chain == "drop odd" || chain == "whole tail" {
				step = 1
			}
			for n := 0; n < len(in); n += step {
				same(t, in[:n], 0, f)
			}
		})
	}
}

func TestEditorAgreesWithReadOnHugeSizes(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"77777777777", "\x80\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00", "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xfc\x00"} {
		for _, f := range chains() {
			same(t, archive(member('0', magicPOSIX, "first", body), member('0', magicPOSIX, "file", "", at{124, size}), make([]byte, 4096)), 0, f)
		}
	}
}

func TestEditorLimitsEntries(t *testing.T) {
	t.Parallel()
	for _, f := range chains() {
		for limit := range int64(5) {
			same(t, samples(t)["ustar"], limit, f)
		}
	}
}

func TestEditorLooksAtHeadersOnly(t *testing.T) {
	t.Parallel()
	in := archive(member('0', magicPOSIX, "a", string(make([]byte, 1<<20))), member('0', magicPOSIX, "b", string(make([]byte, 1<<20))))
	got := same(t, in, 0, func(end tarstream.Handler) tarstream.Handler { return edit{end, zeroTimes} })
	if want := 4 * 512; got.asked != want || got.calls != 2 {
		t.Errorf("%d bytes were looked at, not %d; %d calls", got.asked, want, got.calls)
	}
}

// reads is a handler that reads content and keeps the error to itself.
type reads struct{ tarstream.Handler }

func (h reads) Entry(e *tarstream.Entry) error {
	_, _ = io.ReadAll(e)
	return h.Handler.Entry(e)
}

func TestEditorSaysWhatNeedsContent(t *testing.T) {
	t.Parallel()
	prefix := func(r io.Reader) links {
		return func(end tarstream.Handler) tarstream.Handler {
			return tails{end, func(rest io.Reader) io.Reader { return io.MultiReader(r, rest) }}
		}
	}
	for name, f := range map[string]links{
		"content is read": func(end tarstream.Handler) tarstream.Handler { return reads{end} },
		"content is read, the error is changed": func(end tarstream.Handler) tarstream.Handler {
			return handler{func(e *tarstream.Entry) error {
				if _, err := io.ReadAll(e); err != nil {
					return errors.New("cannot read")
				}
				return end.Entry(e)
			}, end.End}
		},
		"content is copied": func(tarstream.Handler) tarstream.Handler { return tarstream.NewWriter(io.Discard) },
		"another tail":      prefix(bytes.NewReader([]byte("x"))),
		"tail held back": func(end tarstream.Handler) tarstream.Handler {
			return tails{end, func(rest io.Reader) io.Reader {
				b, _ := io.ReadAll(rest)
				return bytes.NewReader(b)
			}}
		},
		"passed on twice": func(end tarstream.Handler) tarstream.Handler {
			return edit{end, func(e *tarstream.Entry) bool { return end.Entry(e) == nil }}
		},
		"two ends": func(end tarstream.Handler) tarstream.Handler {
			return handler{end.Entry, func(rest io.Reader) error { return errors.Join(end.End(rest), end.End(rest)) }}
		},
		"an entry behind the end": func(end tarstream.Handler) tarstream.Handler {
			return handler{end.Entry, func(rest io.Reader) error {
				if err := end.End(rest); err != nil {
					return err
				}
				return tarstream.Read(bytes.NewReader(three()), 0, entries{end})
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := slices.Concat(samples(t)["ustar"], make([]byte, 100_000))
			if _, err := splice(t, in, 0, f); !errors.Is(err, tarstream.ErrNeedsContent) {
				t.Error(err)
			}
		})
	}
}

func TestEditorReturnsTheErrorOfReplaceAndOfAHandler(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, f := range map[string]links{
		"replace": func(end tarstream.Handler) tarstream.Handler {
			return handler{func(e *tarstream.Entry) error { zeroTimes(e); _ = end.Entry(e); return nil }, end.End}
		},
		"entry": func(end tarstream.Handler) tarstream.Handler {
			return handler{func(*tarstream.Entry) error { return broken }, end.End}
		},
		"end": func(end tarstream.Handler) tarstream.Handler {
			return handler{end.Entry, func(io.Reader) error { return broken }}
		},
	} {
		e, err := tarstream.NewEditor(0, func(end tarstream.Handler) (tarstream.Handler, error) { return f(end), nil })
		if err != nil {
			t.Fatal(err)
		}
		in := samples(t)["ustar"]
		for off, n, _ := e.Next(); n > 0 && err == nil; off, n, _ = e.Next() {
			err = e.Patch(in[off:off+int64(n)], func(int64, int64, []byte) error { return broken })
		}
		e.Close()
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := tarstream.NewEditor(0, func(tarstream.Handler) (tarstream.Handler, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// Not parallel: it counts the goroutines of the process.
func TestEditorCanBeClosedAnywhere(t *testing.T) {
	in := append(three(), make([]byte, 100_000)...)
	before := runtime.NumGoroutine()
	for _, f := range chains() {
		for stop, done := 0, false; !done; stop++ {
			e, err := tarstream.NewEditor(0, func(end tarstream.Handler) (tarstream.Handler, error) { return f(end), nil })
			if err != nil {
				t.Fatal(err)
			}
			for range stop {
				off, n, _ := e.Next()
				if done = n == 0; done {
					break
				}
				if err := e.Patch(in[off:min(off+int64(n), int64(len(in)))], func(int64, int64, []byte) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
			e.Close()
			e.Close()
			if _, n, _ := e.Next(); n != 0 || e.Patch(nil, nil) == nil && !done {
				t.Fatal("it goes on after Close")
			}
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}

func TestEditorAsksForContentWhereItIsNotToldTheEnd(t *testing.T) {
	t.Parallel()
	in := member('0', magicPOSIX, "file", string(make([]byte, 1024)))
	for size, want := range map[int64]error{-1: tarstream.ErrNeedsContent, 1536: nil, 1535: io.ErrUnexpectedEOF, 512: io.ErrUnexpectedEOF} {
		e, err := tarstream.NewEditor(0, func(end tarstream.Handler) (tarstream.Handler, error) { return end, nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Patch(in[:512], nil); err != nil {
			t.Error(err)
		}
		if off, n, settled := e.Next(); off != 1536 || n != 512 || settled != 1536 {
			t.Errorf("asks for %d bytes at %d, settled at %d", n, off, settled)
		}
		if size >= 0 {
			e.End(size)
		}
		if err := e.Patch(nil, nil); !errors.Is(err, want) {
			t.Errorf("%d: %v", size, err)
		}
		e.Close()
	}
}
