package tarstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// A links makes the handlers that stand before end.
type links func(end tarstream.Handler) tarstream.Handler

// spliced is what an Editor made of a tar.
type spliced struct {
	out     []byte
	changed bool
	calls   int // of replace
	asked   int // bytes that were looked at
}

// splice applies an Editor to a tar in memory, as its caller would to one that
// it cannot hold, and fails where the Editor breaks its promises.
func splice(t testing.TB, in []byte, limit int64, f links) (s spliced, err error) {
	t.Helper()
	e, err := tarstream.NewEditor(limit, func(end tarstream.Handler) (tarstream.Handler, error) { return f(end), nil })
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	size := int64(len(in))
	var at, settled, asked int64 // copied up to; promised; looked at up to
	for {
		off, n, done := e.Next()
		if done < settled || done > off {
			t.Fatalf("settled at %d after %d, for a region at %d", done, settled, off)
		}
		if at > off {
			t.Fatalf("replaced up to %d, beyond the next region at %d", at, off)
		}
		settled = done
		if n == 0 {
			break
		}
		if off < asked || n > 64<<10 {
			t.Fatalf("region of %d bytes at %d, after one up to %d", n, off, asked)
		}
		asked = off + int64(n)
		if asked > size {
			e.End(size)
		}
		region := bytes.Clone(in[min(off, size):min(asked, size)])
		s.asked += len(region)
		err := e.Patch(region, func(from, old int64, with []byte) error {
			if from < at || from < settled {
				t.Fatalf("replace at %d, after %d, settled %d", from, at, settled)
			}
			s.calls++
			s.out = append(append(s.out, in[min(at, size):min(from, size)]...), with...)
			if at = from + old; old < 0 {
				at = 1<<63 - 1
			}
			return nil
		})
		clear(region)
		if err != nil {
			if _, n, _ := e.Next(); n != 0 || !errors.Is(e.Patch(nil, nil), err) {
				t.Fatal("it goes on after an error")
			}
			return s, err
		}
		if at == 1<<63-1 {
			if _, n, _ := e.Next(); n != 0 {
				t.Fatal("it goes on behind the end")
			}
			break
		}
	}
	s.out = append(s.out, in[min(at, size):]...)
	s.changed = e.Changed()
	return s, nil
}

// unread is the end of a chain as Read has it where nobody reads content.
type unread struct{ tarstream.Handler }

func (unread) Entry(*tarstream.Entry) error { return nil }
func (unread) End(rest io.Reader) error     { _, err := io.Copy(io.Discard, rest); return err }

// same fails unless an Editor makes of a tar what Read and a Writer make of it,
// errors included.
func same(t testing.TB, in []byte, limit int64, f links) spliced {
	t.Helper()
	got, err := splice(t, in, limit, f)
	if errors.Is(err, tarstream.ErrNeedsContent) {
		t.Fatalf("%v", err)
	}
	var b bytes.Buffer
	w := tarstream.NewWriter(&b)
	want := tarstream.Read(bytes.NewReader(in), limit, f(w))
	if (want == nil) != (err == nil) {
		t.Fatalf("editor: %v, writer: %v\n%q", err, want, in)
	}
	if want != nil {
		want = tarstream.Read(bytes.NewReader(in), limit, f(unread{}))
		if want == nil { // a header that cannot be written
			return got
		}
		if fmt.Sprint(err) != fmt.Sprint(want) {
			t.Fatalf("editor: %v, reader: %v\n%q", err, want, in)
		}
		for _, is := range []error{tarstream.ErrFormat, io.ErrUnexpectedEOF, tarstream.ErrTooManyEntries} {
			if errors.Is(err, is) != errors.Is(want, is) {
				t.Fatalf("editor: %v, reader: %v", err, want)
			}
		}
		return got
	}
	if !bytes.Equal(got.out, b.Bytes()) || got.changed != w.Changed() {
		t.Fatalf("changed = %v, not %v; %d bytes, not %d\n%q\n%q", got.changed, w.Changed(), len(got.out), b.Len(), got.out, b.Bytes())
	}
	if got.calls > 0 && !got.changed && bytes.Equal(got.out, in) {
		t.Fatalf("%d calls without a change", got.calls)
	}
	return got
}

// inserts passes on a foreign entry before or behind entries.
type inserts struct {
	tarstream.Handler
	before, behind func(h *tarstream.Header) []byte
}

func (i inserts) Entry(e *tarstream.Entry) error {
	name := *e.Header()
	if err := i.insert(i.before, &name); err != nil {
		return err
	}
	if err := i.Handler.Entry(e); err != nil {
		return err
	}
	return i.insert(i.behind, &name)
}

func (i inserts) insert(from func(h *tarstream.Header) []byte, h *tarstream.Header) error {
	if from == nil {
		return nil
	}
	return tarstream.Read(bytes.NewReader(from(h)), 0, entries{i.Handler})
}

// entries passes on no end.
type entries struct{ tarstream.Handler }

func (entries) End(io.Reader) error { return nil }

// tails passes on another reader of what follows the entries.
type tails struct {
	tarstream.Handler
	f func(rest io.Reader) io.Reader
}

func (h tails) End(rest io.Reader) error { return h.Handler.End(h.f(rest)) }

// chains are handlers that do with headers.
func chains() map[string]links {
	foreign := func(content int) func(h *tarstream.Header) []byte {
		b := archive(member('0', magicPOSIX, "inserted", string(bytes.Repeat([]byte("i"), content))))
		return func(h *tarstream.Header) []byte {
			if len(h.Name)%2 == 0 {
				return nil
			}
			return b
		}
	}
	keeps := func(f func(i int, e *tarstream.Entry) bool) links {
		return func(end tarstream.Handler) tarstream.Handler {
			i := -1
			return edit{end, func(e *tarstream.Entry) bool { i++; return f(i, e) }}
		}
	}
	out := map[string]links{
		"none":        func(end tarstream.Handler) tarstream.Handler { return end },
		"keep":        keeps(func(int, *tarstream.Entry) bool { return true }),
		"times":       keeps(func(_ int, e *tarstream.Entry) bool { return zeroTimes(e) }),
		"long names":  keeps(func(_ int, e *tarstream.Entry) bool { e.Edit().Name = long; return true }),
		"record":      keeps(func(_ int, e *tarstream.Entry) bool { e.Edit().Records = map[string]string{"v": long}; return true }),
		"no edit":     keeps(func(_ int, e *tarstream.Entry) bool { e.Edit(); return true }),
		"drop all":    keeps(func(int, *tarstream.Entry) bool { return false }),
		"drop even":   keeps(func(i int, _ *tarstream.Entry) bool { return i%2 == 1 }),
		"drop odd":    keeps(func(i int, e *tarstream.Entry) bool { return i%2 == 0 && zeroTimes(e) }),
		"insert":      func(end tarstream.Handler) tarstream.Handler { return inserts{end, foreign(600), foreign(0)} },
		"insert much": func(end tarstream.Handler) tarstream.Handler { return inserts{end, nil, foreign(300 << 10)} },
		"insert and drop": func(end tarstream.Handler) tarstream.Handler {
			inserted := func(e *tarstream.Entry) bool { return e.Header().Name == "inserted" }
			return inserts{edit{end, inserted}, foreign(600), foreign(70 << 10)}
		},
	}
	for name, f := range map[string]func(rest io.Reader) io.Reader{
		"whole tail": func(rest io.Reader) io.Reader { return io.MultiReader(rest) },
		"no tail":    func(io.Reader) io.Reader { return bytes.NewReader(nil) },
		"tail of 700": func(rest io.Reader) io.Reader {
			return io.LimitReader(rest, 700)
		},
		"tail of 30000": func(rest io.Reader) io.Reader { return io.LimitReader(rest, 30000) },
		"tail without its head": func(rest io.Reader) io.Reader {
			_, _ = io.CopyN(io.Discard, rest, 700)
			return rest
		},
	} {
		out[name] = func(end tarstream.Handler) tarstream.Handler { return tails{end, f} }
	}
	out["swallowed end"] = func(end tarstream.Handler) tarstream.Handler { return entries{end} }
	return out
}

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

// three is a tar of three entries of different dialects, with all that can be
// cut off somewhere.
func three() []byte {
	return archive(
		append(pax("path=dir/first", "atime=5"), member('0', magicPOSIX, "first", body)...),
		append(member('L', magicGNU, "././@LongLink", long+"\x00"), member('0', magicGNU, "second", string(bytes.Repeat([]byte("2"), 1000)))...),
		member('5', magicPOSIX, "third/", ""))
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

// handler is a Handler of two functions.
type handler struct {
	entry func(e *tarstream.Entry) error
	end   func(rest io.Reader) error
}

func (h handler) Entry(e *tarstream.Entry) error { return h.entry(e) }
func (h handler) End(rest io.Reader) error       { return h.end(rest) }

func TestEditorSaysWhatNeedsContent(t *testing.T) {
	t.Parallel()
	prefix := func(r io.Reader) links {
		return func(end tarstream.Handler) tarstream.Handler {
			return tails{end, func(rest io.Reader) io.Reader { return io.MultiReader(r, rest) }}
		}
	}
	for name, f := range map[string]links{
		"content is read":   func(end tarstream.Handler) tarstream.Handler { return reads{end} },
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
			in := append(samples(t)["ustar"], make([]byte, 100_000)...)
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

// byHash is a handler that edits, drops and inserts by what an entry's name is.
func byHash(seed uint32) links {
	return func(end tarstream.Handler) tarstream.Handler {
		foreign := three()
		insert := func() error { return tarstream.Read(bytes.NewReader(foreign), 0, entries{end}) }
		entry := func(e *tarstream.Entry) error {
			d := crc32.Update(seed, crc32.IEEETable, []byte(e.Header().Name))
			if d&3 == 0 {
				if err := insert(); err != nil {
					return err
				}
			}
			if d>>2&3 == 0 {
				zeroTimes(e)
			}
			if d>>4&7 == 0 {
				e.Edit().Name += long
			}
			if d>>7&3 != 0 {
				if err := end.Entry(e); err != nil {
					return err
				}
			}
			if d>>9&3 == 0 {
				return insert()
			}
			return nil
		}
		return handler{entry, func(rest io.Reader) error {
			switch seed & 7 {
			case 0:
				rest = io.LimitReader(rest, int64(seed>>3&4095))
			case 1:
				rest = io.MultiReader(rest)
			}
			return end.End(rest)
		}}
	}
}

// FuzzEditorAgreesWithRead: whatever comes, an Editor does what Read and a
// Writer do.
func FuzzEditorAgreesWithRead(f *testing.F) {
	for i, inputs := range []map[string][]byte{samples(f), oddities(), {"three": three()}} {
		for _, in := range inputs {
			f.Add(in, uint32(i), uint64(0))
			f.Add(in, uint32(i+77), uint64(len(in)))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint32, mutation uint64) {
		if len(in) >= 512 && mutation > 0 {
			in = mutate(rand.New(rand.NewPCG(mutation, 0)), in)
			in = in[:len(in)-int(mutation>>32)%512]
		}
		same(t, in, 1000, byHash(seed))
	})
}

// BenchmarkEditor is what an Editor costs for each header, beside what Read
// and a Detector cost.
func BenchmarkEditor(b *testing.B) {
	const n = 10_000
	var all [][]byte
	for i := range n {
		all = append(all, member('0', magicPOSIX, fmt.Sprintf("usr/share/doc/package/%d", i), body))
	}
	in := archive(all...)
	none := func(int64, int64, []byte) error { return nil }
	for name, f := range map[string]func(*tarstream.Entry) bool{"keep": keep, "edit": zeroTimes, "drop": func(*tarstream.Entry) bool { return false }} {
		b.Run("Editor/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e, _ := tarstream.NewEditor(0, func(end tarstream.Handler) (tarstream.Handler, error) { return edit{end, f}, nil })
				for off, n, _ := e.Next(); n > 0; off, n, _ = e.Next() {
					if err := e.Patch(in[off:min(off+int64(n), int64(len(in)))], none); err != nil {
						b.Fatal(err)
					}
				}
				e.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/header")
		})
		b.Run("Read/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := tarstream.Read(bytes.NewReader(in), 0, edit{tarstream.NewWriter(io.Discard), f}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/header")
		})
	}
}
