package zstdframe

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
)

const (
	bufferSize = 128 << 10
	// maxHeader is the longest frame header: magic number, descriptor, window,
	// dictionary ID, content size (RFC 8878, 3.1.1.1).
	maxHeader = 4 + 1 + 1 + 4 + 8
	// maxBlock is Block_Maximum_Size (RFC 8878, 3.1.1.2.4); a smaller window
	// makes it smaller, which the decoder sees to.
	maxBlock = 128 << 10
	// blockHeader is the size of a block's header (RFC 8878, 3.1.1.2).
	blockHeader = 3
	// checksumSize is that of Content_Checksum (RFC 8878, 3.1.1).
	checksumSize = 4
)

// source reads frame headers and blocks, and knows where it is.
type source struct {
	br  *bufio.Reader
	off int64
}

// header reads the header of the next frame, and what it says; io.EOF stands
// for the end of the stream.
func (s *source) header() ([]byte, zstd.Header, error) {
	var h zstd.Header
	head, err := s.br.Peek(maxHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, h, s.failed(err)
	}
	if len(head) == 0 {
		return nil, h, io.EOF
	}
	// The header is all that counts here: the decoder reads the first block.
	switch err := h.Decode(head); {
	case errors.Is(err, zstd.ErrMagicMismatch):
		return nil, h, fmt.Errorf("byte %d: no zstd frame begins with % x: %w", s.off, head[:4], ErrFormat)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, h, s.failed(err)
	case err != nil:
		return nil, h, fmt.Errorf("byte %d: zstd frame header: %w: %w", s.off, ErrFormat, err)
	case h.FrameContentSize > math.MaxInt64/2:
		return nil, h, fmt.Errorf("byte %d: a zstd frame of %d bytes: %w", s.off, h.FrameContentSize, ErrFormat)
	}
	head = append([]byte(nil), head[:h.HeaderSize]...)
	_, err = s.br.Discard(len(head))
	s.off += int64(len(head))
	return head, h, err
}

// block appends the next block to b as it is stored, and the checksum behind
// the last one.
func (s *source) block(b []byte, checksum bool) (_ []byte, last bool, err error) {
	at := s.off
	if b, err = s.read(b, blockHeader); err != nil {
		return b, false, err
	}
	h := binary.LittleEndian.Uint32(append(b[len(b)-blockHeader:len(b):len(b)], 0))
	last = h&1 != 0
	size := int(h >> 3)
	switch h >> 1 & 3 {
	case 1: // RLE_Block: one byte, that many times
		size = 1
	case 3:
		return b, false, fmt.Errorf("byte %d: a zstd block of the reserved type: %w", at, ErrFormat)
	}
	if h>>3 > maxBlock {
		return b, false, fmt.Errorf("byte %d: a zstd block of %d bytes: %w", at, h>>3, ErrFormat)
	}
	if last && checksum {
		size += checksumSize
	}
	b, err = s.read(b, size)
	return b, last, err
}

// read appends n bytes to b.
func (s *source) read(b []byte, n int) ([]byte, error) {
	have := len(b)
	b = append(b, make([]byte, n)...)
	got, err := io.ReadFull(s.br, b[have:])
	s.off += int64(got)
	if err != nil {
		return b, s.failed(err)
	}
	return b, nil
}

// failed wraps an error of reading in the middle of something.
func (s *source) failed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("byte %d: the zstd stream is cut off: %w: %w", s.off, ErrFormat, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read the zstd stream at byte %d: %w", s.off, err)
}
