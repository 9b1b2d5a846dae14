package tarstream

import "io"

// Size is a Handler in the middle of a chain that changes nothing. It counts
// the bytes of the tar as it is there, which the headers tell: no content is
// read, so an Editor can do with it. Where a handler after it cuts off what
// follows the last entry, it may count what is left alone.
type Size struct {
	next Handler
	n    int64
}

var _ Handler = (*Size)(nil)

// NewSize returns a Size before next.
func NewSize(next Handler) *Size { return &Size{next: next} }

// Bytes is the number of bytes, after End.
func (s *Size) Bytes() int64 { return s.n }

// Entry counts the entry and passes it on.
func (s *Size) Entry(e *Entry) error {
	b, err := e.blocks()
	if err != nil {
		return err
	}
	s.n = after(s.n+int64(len(b)), e.padded)
	return s.next.Entry(e)
}

// End counts what follows the last entry, and passes it on.
func (s *Size) End(rest io.Reader) error {
	rest = seen(rest, s)
	if err := s.next.End(rest); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, rest)
	return err
}

// Write counts what is read of the rest.
func (s *Size) Write(b []byte) (int, error) {
	s.n += int64(len(b))
	return len(b), nil
}
