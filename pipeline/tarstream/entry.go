package tarstream

import (
	"bytes"
	"io"
	"maps"
)

// farthest is an offset that no stream reaches, and that has room behind it.
const farthest = 1 << 62

// An Entry is one member of a tar: header blocks, content, padding. It is an
// io.Reader of its content as stored.
type Entry struct {
	s      *stream
	offset int64 // of raw in the plain stream

	tees []tee // who sees the content go by

	raw  []byte // header blocks as they came: extensions, header, sparse map
	main int    // where the header proper starts in raw
	ext  extensions

	hdr    Header
	edit   *Header // nil or &edited
	edited Header
	size   int64 // content bytes in the stream
	padded int64 // content and padding
	read   int64 // of padded
}

// Header is the entry's header, to look at only. After Edit it shows the edit.
func (e *Entry) Header() *Header {
	if e.edit != nil {
		return e.edit
	}
	return &e.hdr
}

// Edit is the entry's header, to change. An edit after which the header blocks
// would have the same bytes as before is no edit. Size and the sparse map
// cannot be changed.
//
// Once edited, the blocks of extension headers are written in one canonical
// form (that of archive/tar), so that they carry no time or process ID of the
// program that made them. The PAX records in them keep their order, repeats
// and spelling, but for those that changed and for times: entries that differ
// in times only come out equal once those are the same.
func (e *Entry) Edit() *Header {
	if e.edit == nil {
		e.edited = e.hdr
		e.edited.Records = maps.Clone(e.hdr.Records)
		e.edit = &e.edited
	}
	return e.edit
}

// Edited says whether the header blocks differ from those that were read.
func (e *Entry) Edited() bool {
	if e.edit == nil {
		return false
	}
	b, err := e.blocks()
	return err != nil || !bytes.Equal(b, e.raw)
}

// Offset is where the entry's first header block starts in its plain stream.
func (e *Entry) Offset() int64 { return e.offset }

// next is where the entry after this one starts.
func (e *Entry) next() int64 { return after(e.offset+int64(len(e.raw)), e.padded) }

// after is n bytes behind an offset, or farthest: a header may claim any size.
func after(off, n int64) int64 {
	if n > farthest-off {
		return farthest
	}
	return off + n
}

// Read reads content as it is stored. What one handler has read, the next does
// not see.
func (e *Entry) Read(p []byte) (int, error) {
	left := e.size - e.read
	if left <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	if e.s.content == nil {
		return 0, e.s.needContent()
	}
	n, err := e.s.content.Read(p)
	e.consumed(int64(n))
	return n, unexpected(err)
}

// copyTo writes what is left of content and padding.
func (e *Entry) copyTo(w io.Writer) error {
	w = e.shown(w)
	for left := e.padded - e.read; left > 0; left = e.padded - e.read {
		b, err := e.chunk(left)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if _, err := e.s.content.Discard(len(b)); err != nil {
			return err
		}
		e.consumed(int64(len(b)))
	}
	return nil
}

// chunk is what the buffer holds of the next bytes, at least one.
func (e *Entry) chunk(left int64) ([]byte, error) {
	if e.s.content == nil {
		return nil, e.s.needContent()
	}
	if e.s.content.Buffered() == 0 {
		if _, err := e.s.content.Peek(1); err != nil {
			return nil, unexpected(err)
		}
	}
	return e.s.content.Peek(int(min(left, int64(e.s.content.Buffered()))))
}

// skip passes over what is left of content and padding.
func (e *Entry) skip() error {
	if left := e.padded - e.read; left > 0 {
		return e.s.skip(left)
	}
	return nil
}

func (e *Entry) consumed(n int64) {
	e.read += n
	e.s.pos += n
}
