package codec

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/occystrap/occystrap/pipeline/internal/pgzip"
)

const (
	defaultGzipLevel = 6
	defaultZstdLevel = 3
)

// NewWriter compresses what is written to it into w. Level 0 stands for the
// default. The output depends on the input and the level alone: gzip uses all
// cores, but in pieces that do not depend on them, with a fixed header (see
// pgzip); zstd is compressed by one goroutine. The caller closes it, or drops
// it where the output is not wanted any more; w stays open.
func NewWriter(w io.Writer, c Compression, level int) (io.WriteCloser, error) {
	switch c { //nolint:exhaustive // nobody writes the others
	case Plain:
		return nopCloser{w}, nil
	case Gzip:
		if level == 0 {
			level = defaultGzipLevel
		}
		return pgzip.NewWriter(w, level)
	case Zstd:
		if level == 0 {
			level = defaultZstdLevel
		}
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
	}
	return nil, fmt.Errorf("compress: %q is not one of none, gzip, zstd", c)
}
