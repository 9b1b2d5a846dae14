package spool_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReadersFollowTheWriter(t *testing.T) {
	t.Parallel()
	f, err := spool.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	var g errgroup.Group
	for i := range 8 {
		off := int64(i * 1000)
		g.Go(func() error {
			got, err := io.ReadAll(f.Section(t.Context(), off, int64(len(want))-off))
			if err == nil && !bytes.Equal(got, want[off:]) {
				err = errors.New("a reader got other bytes than were written")
			}
			return err
		})
	}
	for rest := want; len(rest) > 0; {
		n := min(777, len(rest))
		if _, err := f.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestReaderGetsTheReasonOfTheEnd(t *testing.T) {
	t.Parallel()
	broken := errors.New("the connection was cut")
	for _, c := range []struct {
		name string
		end  func(*spool.File)
		want error
	}{
		{"failure", func(f *spool.File) { f.End(broken) }, broken},
		{"too short", func(f *spool.File) { f.End(nil) }, io.ErrUnexpectedEOF},
		{"closed", func(f *spool.File) { f.Close() }, spool.ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, err := spool.New(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var g errgroup.Group
			r := f.Section(t.Context(), 0, 10)
			g.Go(func() error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
			c.end(f)
			if err := g.Wait(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestReaderThatWaitsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	f, err := spool.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Section(ctx, 0, 1).Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestNothingIsLeftInTheDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := spool.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("a second Close is not harmless: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMissingDirectoryNamesTheRemedy(t *testing.T) {
	t.Parallel()
	_, err := spool.New(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "--temp-dir") {
		t.Errorf("got %v", err)
	}
}
