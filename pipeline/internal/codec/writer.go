package codec

import (
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	defaultGzipLevel = 6
	defaultZstdLevel = 3
)

// NewWriter compresses what is written to it into w. Level 0 stands for the
// default. The output depends on the input alone: the gzip header is fixed (no
// name, no time, system unknown), and one goroutine compresses. The caller
// closes it; w stays open.
func NewWriter(w io.Writer, c Compression, level int) (io.WriteCloser, error) {
	switch c { //nolint:exhaustive // nobody writes the others
	case Plain:
		return nopCloser{w}, nil
	case Gzip:
		if level == 0 {
			level = defaultGzipLevel
		}
		z, err := gzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, err
		}
		z.ModTime = time.Unix(0, 0) // the zero Time would be written as a number of its own
		return z, nil
	case Zstd:
		if level == 0 {
			level = defaultZstdLevel
		}
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
	}
	return nil, fmt.Errorf("compress: %q is not one of none, gzip, zstd", c)
}
