package pgzip_test

import (
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/occystrap/occystrap/pipeline/internal/pgzip"
)

// BenchmarkWriter compresses a layer at level 6: by one stream of the library,
// and by us. Bytes are those that go in.
func BenchmarkWriter(b *testing.B) {
	large, small := archive(b, 16<<20), archive(b, 8<<10)
	run := func(name string, cores int, in []byte, open func() (io.WriteCloser, error)) {
		b.Run(name, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				w, err := open()
				if err != nil {
					b.Fatal(err)
				}
				for p := in; len(p) > 0; p = p[min(pieces(), len(p)):] {
					if _, err := w.Write(p[:min(pieces(), len(p))]); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	one := func() (io.WriteCloser, error) { return gzip.NewWriterLevel(io.Discard, 6) }
	ours := func() (io.WriteCloser, error) { return pgzip.NewWriter(io.Discard, 6) }
	run("OneStream", 2, large, one)
	for _, cores := range []int{1, 2} {
		run(fmt.Sprintf("Ours/cores=%d", cores), cores, large, ours)
	}
	run("SmallOneStream", 2, small, one)
	run("SmallOurs", 2, small, ours)
}
