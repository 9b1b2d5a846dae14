package tarstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
