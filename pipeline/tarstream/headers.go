package tarstream

import (
	"bufio"
	"io"
)

// headerBuffer is what is read at once where contents are passed over: most
// headers are 512 bytes, and most files of images a few KiB.
const headerBuffer = 16 << 10

// Headers reads the headers of a tar that can be read anywhere, and no content:
// who asks an Entry for some gets ErrNeedsContent. It is used by one goroutine.
type Headers struct{ s stream }

// NewHeaders reads a tar of size bytes. Limit is the largest number of entries
// that are read, again and again counted; 0 is none.
func NewHeaders(r io.ReaderAt, size, limit int64) *Headers {
	file := io.NewSectionReader(r, 0, size)
	return &Headers{stream{src: &seeking{bufio.NewReaderSize(file, headerBuffer), file}, limit: limit}}
}

// Run hands all entries to h, from the first one.
func (h *Headers) Run(to Handler) error {
	if err := h.seek(0); err != nil {
		return err
	}
	return h.s.run(to)
}

// At is the entry that starts at an offset, as Entry.Offset told it. It is valid
// until the next call.
func (h *Headers) At(offset int64) (*Entry, error) {
	if err := h.seek(offset); err != nil {
		return nil, err
	}
	e, err := h.s.next()
	return e, unexpected(err)
}

func (h *Headers) seek(offset int64) error {
	src := h.s.src.(*seeking) //nolint:forcetypeassert // NewHeaders made it
	err := src.to(offset, h.s.pos)
	h.s.pos = offset
	return err
}

// seeking is the source of Headers.
type seeking struct {
	*bufio.Reader
	file *io.SectionReader
}

var _ source = (*seeking)(nil)

// skip passes over n bytes, without reading them.
func (s *seeking) skip(n int64) (int64, error) {
	if n <= int64(s.Buffered()) {
		skipped, err := s.Discard(int(n))
		return int64(skipped), err
	}
	at, err := s.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	at -= int64(s.Buffered())
	if left := s.file.Size() - at; n > left {
		return left, io.EOF
	}
	_, err = s.file.Seek(at+n, io.SeekStart)
	s.Reset(s.file)
	return n, err
}

// to goes to an offset from another.
func (s *seeking) to(offset, from int64) error {
	if ahead := offset - from; ahead >= 0 && ahead <= int64(s.Buffered()) {
		_, err := s.Discard(int(ahead))
		return err
	}
	_, err := s.file.Seek(offset, io.SeekStart)
	s.Reset(s.file)
	return err
}

// Blocks are the header blocks of the entry as a Writer writes them.
func (e *Entry) Blocks() ([]byte, error) { return e.blocks() }

// Span is how many bytes of the plain stream the entry takes, from Offset on:
// its header blocks, and its content with the padding behind it.
func (e *Entry) Span() (header, content int64) { return int64(len(e.raw)), e.padded }
