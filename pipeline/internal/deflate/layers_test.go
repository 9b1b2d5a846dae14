package deflate_test

import (
	"bufio"
	stdgzip "compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"testing"
	"time"

	kgzip "github.com/klauspost/compress/gzip"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// BenchmarkLayers reads real layers: inflates them, with every checksum; and
// sets the times of all their entries, in place and by compressing anew, with
// the digests of both plain sides and of the result. The libraries read through
// a buffer as large as ours.
func BenchmarkLayers(b *testing.B) {
	inflating := func(open func(io.Reader) (io.Reader, error)) func(*os.File) (pipelinetest.LayerPass, error) {
		return func(f *os.File) (p pipelinetest.LayerPass, err error) {
			z, err := open(f)
			if err != nil {
				return p, err
			}
			p.Plain, err = io.Copy(io.Discard, z)
			return p, err
		}
	}
	pipelinetest.BenchLayers(b, "Reader", inflating(func(r io.Reader) (io.Reader, error) { return deflate.NewReader(r), nil }))
	pipelinetest.BenchLayers(b, "klauspost", inflating(func(r io.Reader) (io.Reader, error) { return kgzip.NewReader(buffered(r)) }))
	pipelinetest.BenchLayers(b, "library", inflating(func(r io.Reader) (io.Reader, error) { return stdgzip.NewReader(buffered(r)) }))
	pipelinetest.BenchLayers(b, "Transcode", transcodeLayer)
	pipelinetest.BenchLayers(b, "recompress", recompressLayer)
}

func buffered(r io.Reader) io.Reader { return bufio.NewReaderSize(r, 128<<10) }

// epochTimes sets all times of every entry, as normalize-timestamps does.
type epochTimes struct{ tarstream.Handler }

func (h epochTimes) Entry(e *tarstream.Entry) error {
	x := e.Edit()
	x.ModTime, x.AccessTime, x.ChangeTime = time.Unix(0, 0), time.Time{}, time.Time{}
	return h.Handler.Entry(e)
}

func transcodeLayer(f *os.File) (p pipelinetest.LayerPass, err error) {
	editor, err := tarstream.NewEditor(0, func(end tarstream.Handler) (tarstream.Handler, error) { return epochTimes{end}, nil })
	if err != nil {
		return p, err
	}
	defer editor.Close()
	res, err := deflate.Transcode(io.Discard, f, editor, deflate.Options{})
	return pipelinetest.LayerPass{
		Plain: res.Old.Size, Stored: res.Size,
		Digests: []string{hex.EncodeToString(res.Old.Digest[:]), hex.EncodeToString(res.New.Digest[:])},
	}, err
}

// counted counts what is written to it.
type counted struct {
	io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Writer.Write(p)
}

func recompressLayer(f *os.File) (p pipelinetest.LayerPass, err error) {
	was, is := sha256.New(), sha256.New()
	stored, old := &counted{Writer: sha256.New()}, &counted{Writer: was}
	z, err := kgzip.NewReader(buffered(f))
	if err != nil {
		return p, err
	}
	w, err := kgzip.NewWriterLevel(stored, 6)
	if err != nil {
		return p, err
	}
	plain := io.TeeReader(z, old)
	if err := tarstream.Read(plain, 0, epochTimes{tarstream.NewWriter(io.MultiWriter(is, w))}); err != nil {
		return p, err
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return p, err
	}
	err = w.Close()
	return pipelinetest.LayerPass{
		Plain: old.n, Stored: stored.n,
		Digests: []string{hex.EncodeToString(was.Sum(nil)), hex.EncodeToString(is.Sum(nil))},
	}, err
}
