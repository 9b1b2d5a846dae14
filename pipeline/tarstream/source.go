package tarstream

import (
	"bufio"
	"io"
	"math"
)

// A source is where a stream gets its headers from, and what follows the last
// entry: bytes that come by themselves, or for which an Editor has to ask.
type source interface {
	io.Reader
	// Peek shows the next n bytes, or fewer and an error.
	Peek(n int) ([]byte, error)
	// skip passes over n bytes; io.EOF says that there were fewer.
	skip(n int64) (skipped int64, err error)
}

// buffered is the source of Read.
type buffered struct{ *bufio.Reader }

var _ source = buffered{}

func (b buffered) skip(n int64) (skipped int64, err error) {
	for skipped < n && err == nil {
		var some int
		some, err = b.Discard(int(min(n-skipped, math.MaxInt32)))
		skipped += int64(some)
	}
	return skipped, err
}
