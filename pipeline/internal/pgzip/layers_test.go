package pgzip_test

import (
	"io"
	"os"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/occystrap/occystrap/pipeline/internal/pgzip"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
)

// BenchmarkLayers compresses real layers at level 6, by as many cores as there
// are and by one stream of the library. The files are plain tars.
func BenchmarkLayers(b *testing.B) {
	compressing := func(open func(w io.Writer) (io.WriteCloser, error)) func(*os.File) (pipelinetest.LayerPass, error) {
		return func(f *os.File) (p pipelinetest.LayerPass, err error) {
			out := &counted{}
			w, err := open(out)
			if err != nil {
				return p, err
			}
			if p.Plain, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f}, make([]byte, pieces())); err != nil {
				return p, err
			}
			err = w.Close()
			p.Stored = out.n
			return p, err
		}
	}
	const level = 6
	pipelinetest.BenchLayers(b, "Writer", compressing(func(w io.Writer) (io.WriteCloser, error) { return pgzip.NewWriter(w, level) }))
	pipelinetest.BenchLayers(b, "OneStream", compressing(func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, level) }))
}

// counted counts what is written to it.
type counted struct{ n int64 }

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
