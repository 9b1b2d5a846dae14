package codec

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/occystrap/occystrap/pipeline/internal/deflate"
)

const (
	// bufferSize lets the decompressors read in large pieces and makes Peek
	// possible; flate wants an io.ByteReader anyway.
	bufferSize = 128 << 10
	// maxWindow bounds the memory of a zstd decoder: 8 MiB is what RFC 8878
	// recommends every decoder to support, `zstd --long` uses 128 MiB.
	maxWindow = 128 << 20
)

// NewReader returns the plain bytes of r, and how they were compressed. It
// reads concatenated gzip members and zstd frames as one stream. The caller
// closes it; r stays open.
func NewReader(r io.Reader) (io.ReadCloser, Compression, error) {
	br := bufio.NewReaderSize(r, bufferSize)
	head, err := br.Peek(PeekSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	c := Sniff(head)
	rc, err := open(br, c)
	if err != nil {
		return nil, c, fmt.Errorf("read %s: %w", c, err)
	}
	return rc, c, nil
}

func open(br *bufio.Reader, c Compression) (io.ReadCloser, error) {
	switch c { //nolint:exhaustive // plain is what is left
	case Gzip:
		return readCloser{deflate.NewReader(br)}, nil
	case Zstd:
		d, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case Bzip2:
		return io.NopCloser(bzip2.NewReader(br)), nil
	case XZ:
		x, err := xz.NewReader(br)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(x), nil
	}
	return io.NopCloser(br), nil
}

// readCloser gives the fast inflater a Close; io.Copy still finds its WriteTo.
type readCloser struct{ *deflate.Reader }

func (readCloser) Close() error { return nil }

// Members is how many gzip members of a reader that NewReader returned have been
// read; 0 where nobody counts.
func Members(r io.Reader) int {
	if m, ok := r.(interface{ Members() int }); ok {
		return m.Members()
	}
	return 0
}
