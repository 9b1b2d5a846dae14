package tarstream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	blockSize = 512
	// bufferSize makes few, large reads of the stream below; content is handed
	// on from this buffer without another copy.
	bufferSize = 128 << 10
)

// ErrFormat says that bytes are not those of a tar.
var ErrFormat = errors.New("not a valid tar")

// ErrTooManyEntries says that a tar has more entries than the limit.
var ErrTooManyEntries = errors.New("too many entries")

// ErrNeedsContent says that a handler asked a stream of headers alone for more.
var ErrNeedsContent = errors.New("a filter needs more of the tar than its headers")

var buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, bufferSize) }}

// Read hands the entries of the tar r to h, then calls h.End, and reads r to
// its end, so that whoever hashes r has seen every byte. Content that h leaves
// unread is skipped. Limit is the largest number of entries; 0 is none.
//
// A tar that ends at a block boundary without end-of-archive blocks is
// accepted, as daemons do; one that ends elsewhere is io.ErrUnexpectedEOF.
func Read(r io.Reader, limit int64, h Handler) error {
	br := buffers.Get().(*bufio.Reader)
	br.Reset(r)
	defer func() {
		br.Reset(nil)
		buffers.Put(br)
	}()
	s := &stream{src: buffered{br}, content: br, limit: limit}
	if err := s.run(h); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, br)
	return err
}

// stream is the position of one Read, or of one Editor.
type stream struct {
	src     source
	content *bufio.Reader // what src reads; nil: headers are all that can be had
	stuck   error         // why headers did not do
	pos     int64         // bytes consumed
	start   int64         // where the entry being read starts
	limit   int64
	entries int64
	entry   Entry // the one being read: handlers have it until they return
}

// run hands the entries to h, and what follows them.
func (s *stream) run(h Handler) error {
	for {
		e, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("tar entry at byte %d: %w", s.start, err)
		}
		if err := h.Entry(e); err != nil {
			return err
		}
		if err := e.skip(); err != nil {
			return fmt.Errorf("content of %q at byte %d: %w", e.hdr.Name, e.offset, err)
		}
	}
	s.start = s.pos
	return h.End(&trailer{s.src, s, s.start})
}

// next reads the header blocks of the next entry; io.EOF is the end of the
// archive.
func (s *stream) next() (*Entry, error) {
	s.start = s.pos
	e := &s.entry
	*e = Entry{s: s, offset: s.pos, raw: e.raw[:0]}
	for extensions := 0; ; extensions++ {
		if extensions > maxExtensions {
			return nil, fmt.Errorf("%w: more than %d extension headers", ErrFormat, maxExtensions)
		}
		block, err := s.headerBlock(len(e.raw) > 0)
		if err != nil {
			return nil, err
		}
		e.main = len(e.raw)
		e.raw = append(e.raw, block...)
		if err := s.skip(blockSize); err != nil {
			return nil, err
		}
		more, err := e.header()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	if s.entries++; s.limit > 0 && s.entries > s.limit {
		return nil, fmt.Errorf("%w: limit is %d (raise it with --max-entries)", ErrTooManyEntries, s.limit)
	}
	return e, nil
}

// headerBlock shows one block; io.EOF stands for the end-of-archive blocks or
// for the end of the stream.
func (s *stream) headerBlock(inside bool) ([]byte, error) {
	b, err := s.src.Peek(blockSize)
	switch {
	case errors.Is(err, io.EOF) && len(b) == 0 && !inside:
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	if isZero(b) {
		if inside {
			return nil, fmt.Errorf("%w: extension header without an entry", ErrFormat)
		}
		two, err := s.src.Peek(2 * blockSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if !isZero(two) {
			return nil, fmt.Errorf("%w: a single zero block between entries", ErrFormat)
		}
		return nil, io.EOF
	}
	if !checksumOK(b) {
		return nil, fmt.Errorf("%w: header checksum is wrong", ErrFormat)
	}
	return b, nil
}

// skip passes over n bytes.
func (s *stream) skip(n int64) error {
	n, err := s.src.skip(n)
	s.pos += n
	return unexpected(err)
}

// readFull fills b or returns io.ErrUnexpectedEOF.
func (s *stream) readFull(b []byte) error {
	n, err := io.ReadFull(s.src, b)
	s.pos += int64(n)
	return unexpected(err)
}

// needContent notes that a handler wants what is not there to be had, lest the
// handler keep it to itself.
func (s *stream) needContent() error {
	s.stuck = ErrNeedsContent
	return s.stuck
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
