package tarstream

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
)

// Sum is a Handler in the middle of a chain that changes nothing. It computes
// the digest and the size of the tar as it is there.
type Sum struct {
	next Handler
	hash hash.Hash
	size int64
}

var _ Handler = (*Sum)(nil)

// NewSum returns a Sum before next.
func NewSum(next Handler) *Sum { return &Sum{next: next, hash: sha256.New()} }

// Digest is the diff ID, after End.
func (s *Sum) Digest() digest.Digest { return digest.NewDigest(digest.SHA256, s.hash) }

// Size is the number of bytes, after End.
func (s *Sum) Size() int64 { return s.size }

// Entry passes the entry on.
func (s *Sum) Entry(e *Entry) error {
	b, err := e.blocks()
	if err != nil {
		return err
	}
	s.add(b)
	e.tees = append(e.tees, tee{adder{s}, e.padded})
	if err := s.next.Entry(e); err != nil {
		return err
	}
	return e.Drain()
}

// End passes on what follows the last entry.
func (s *Sum) End(rest io.Reader) error {
	rest = seen(rest, adder{s})
	if err := s.next.End(rest); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, rest)
	return err
}

// seen shows w what is read of a rest, which stays the rest that it is.
func seen(rest io.Reader, w io.Writer) io.Reader {
	if t, ok := rest.(*trailer); ok {
		return &trailer{io.TeeReader(t.Reader, w), t.s, t.start}
	}
	return io.TeeReader(rest, w)
}

func (s *Sum) add(b []byte) {
	s.hash.Write(b)
	s.size += int64(len(b))
}

// adder is a Sum as a writer.
type adder struct{ s *Sum }

func (a adder) Write(b []byte) (int, error) {
	a.s.add(b)
	return len(b), nil
}
