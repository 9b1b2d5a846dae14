package pgzip_test

import (
	"errors"
	"io"
	"runtime"
	"testing"
	"time"
	"weak"

	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline/internal/pgzip"
)

var errFull = errors.New("disk full")

// failing accepts some writes and no more.
type failing struct {
	left, after int
	short       bool
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left == 0 {
		f.after++
		if f.short {
			return len(p) - 1, nil
		}
		return 0, errFull
	}
	f.left--
	return len(p), nil
}

func TestErrorOfTheWriterBelowEndsTheWork(t *testing.T) {
	t.Parallel()
	for _, short := range []bool{false, true} {
		want := errFull
		if short {
			want = io.ErrShortWrite
		}
		// The header, five chunks, the trailer.
		for left := range 7 {
			in := text(4*pgzip.ChunkSize + 5)
			below := &failing{left: left, short: short}
			w, err := pgzip.NewWriter(below, 1)
			if err != nil {
				t.Fatal(err)
			}
			n, err := w.Write(in)
			if err == nil && n != len(in) || err != nil && (n == len(in) || !errors.Is(err, want)) {
				t.Errorf("after %d writes: Write says %d, %v", left, n, err)
			}
			for range 2 {
				if err := w.Close(); !errors.Is(err, want) {
					t.Errorf("after %d writes: Close says %v", left, err)
				}
			}
			if _, err := w.Write(in); !errors.Is(err, want) {
				t.Errorf("after %d writes: a late Write says %v", left, err)
			}
			if below.after != 1 {
				t.Errorf("after %d writes: %d more were tried", left, below.after)
			}
		}
	}
}

func TestWriteAfterCloseIsAnError(t *testing.T) {
	t.Parallel()
	w, err := pgzip.NewWriter(io.Discard, 6)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write([]byte("x")); n != 0 || err == nil {
		t.Error(n, err)
	}
}

// Nothing runs beside it: it looks at all goroutines.
func TestAbandonedWriterLeavesNothing(t *testing.T) { //nolint:paralleltest // see above
	ignore := goleak.IgnoreCurrent()
	gone := func() weak.Pointer[pgzip.Writer] {
		w, err := pgzip.NewWriter(io.Discard, 6)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text(4*pgzip.ChunkSize + 5)); err != nil {
			t.Fatal(err)
		}
		return weak.Make(w)
	}()
	for end := time.Now().Add(time.Minute); ; runtime.GC() {
		err := goleak.Find(ignore) // waits a little itself
		if err == nil && gone.Value() == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the writer is held: %t; goroutines: %v", gone.Value() != nil, err)
		}
	}
}
