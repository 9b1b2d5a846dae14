// Package codec reads and writes the compressions that layers come in.
//
// It believes the magic bytes, never a media type, and reads a stream of
// several gzip members or zstd frames to its real end.
package codec

import (
	"bytes"
	"io"
)

// Compression names a way to compress a stream.
type Compression string

// The compressions of layers; "" means unknown.
const (
	Plain Compression = "none"
	Gzip  Compression = "gzip"
	Zstd  Compression = "zstd"
)

// Compressions that only whole archives come in; Sniff and NewReader know them.
const (
	Bzip2 Compression = "bzip2"
	XZ    Compression = "xz"
)

// Writable is the compression in which a stream of this one is written anew:
// itself, but gzip for those that no registry or daemon takes for a layer.
func (c Compression) Writable() Compression {
	if c == Bzip2 || c == XZ {
		return Gzip
	}
	return c
}

// PeekSize is how many bytes Sniff wants to see.
const PeekSize = 6

var magics = []struct {
	magic []byte
	c     Compression
}{
	{[]byte{0x1f, 0x8b}, Gzip},
	{[]byte{0x28, 0xb5, 0x2f, 0xfd}, Zstd},
	{[]byte("BZh"), Bzip2},
	{[]byte{0xfd, '7', 'z', 'X', 'Z', 0}, XZ},
}

// Sniff tells the compression by the first bytes of a stream. A zstd skippable
// frame (RFC 8878, 3.1.2) counts as zstd.
func Sniff(head []byte) Compression {
	for _, m := range magics {
		if bytes.HasPrefix(head, m.magic) {
			return m.c
		}
	}
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}) {
		return Zstd
	}
	return Plain
}

// nopCloser gives a writer without a Close one that does nothing.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
