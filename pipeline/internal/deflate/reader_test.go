package deflate_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"os"
	"testing"

	kgzip "github.com/klauspost/compress/gzip"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

func TestQuick(t *testing.T) {
	files := os.Getenv("DEFLATE_FILES")
	if files == "" {
		t.Skip()
	}
	b, err := os.ReadFile(files)
	if err != nil {
		t.Fatal(err)
	}
	zr, _ := stdgzip.NewReader(bytes.NewReader(b))
	want, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(deflate.NewReader(bytes.NewReader(b)))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatal(err, len(got), len(want))
	}
}

func BenchmarkInflate(b *testing.B) {
	in, err := os.ReadFile(os.Getenv("DEFLATE_FILES"))
	if err != nil {
		b.Skip(err)
	}
	n, err := io.Copy(io.Discard, deflate.NewReader(bytes.NewReader(in)))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(n)
		for b.Loop() {
			if _, err := io.Copy(io.Discard, deflate.NewReader(bytes.NewReader(in))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("klauspost", func(b *testing.B) {
		b.SetBytes(n)
		for b.Loop() {
			z, err := kgzip.NewReader(bytes.NewReader(in))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, z); err != nil {
				b.Fatal(err)
			}
		}
	})
}
