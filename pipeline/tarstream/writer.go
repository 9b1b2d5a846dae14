package tarstream

import (
	"bytes"
	"errors"
	"io"
)

// Writer is the Handler at the end of a chain: it writes a tar. Entries that
// nobody edited are written byte for byte, and so is what follows the last.
type Writer struct {
	w     io.Writer
	watch watch
}

var _ Handler = (*Writer)(nil)

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Changed says whether what was written differs from what was read.
func (w *Writer) Changed() bool { return w.watch.changed }

// Entry writes the entry with its content.
func (w *Writer) Entry(e *Entry) error {
	b, err := w.watch.entry(e)
	if err != nil {
		return err
	}
	if _, err := w.w.Write(b); err != nil {
		return err
	}
	return e.copyTo(w.w)
}

// End writes what followed the last entry.
func (w *Writer) End(rest io.Reader) error {
	w.watch.end(rest)
	_, err := io.Copy(w.w, rest)
	return err
}

// ErrChanged is what a Detector returns at the first change.
var ErrChanged = errors.New("the tar was changed")

// Detector is the Handler at the end of a chain that only asks whether the
// chain changes anything. Its Entry or End returns ErrChanged at the first
// edited, missing or inserted entry.
type Detector struct{ watch watch }

var _ Handler = (*Detector)(nil)

// Entry looks at the entry.
func (d *Detector) Entry(e *Entry) error {
	if _, err := d.watch.entry(e); err != nil {
		return err
	}
	return d.verdict()
}

// End looks for entries that are missing at the end.
func (d *Detector) End(rest io.Reader) error {
	d.watch.end(rest)
	return d.verdict()
}

func (d *Detector) verdict() error {
	if d.watch.changed {
		return ErrChanged
	}
	return nil
}

// watch follows whether entries come whole and in the order of one stream.
type watch struct {
	s       *stream
	next    int64
	changed bool
}

func (w *watch) entry(e *Entry) ([]byte, error) {
	b, err := e.blocks()
	if err != nil {
		return nil, err
	}
	if w.s == nil {
		w.s = e.s
	}
	if e.s != w.s || e.offset != w.next || e.edit != nil && !bytes.Equal(b, e.raw) {
		w.changed = true
	}
	w.next = e.next()
	return b, nil
}

// end compares with where the entries ended, and takes a rest that a handler
// replaced, or that another stream's entries stand before, for a change.
func (w *watch) end(rest io.Reader) {
	if t, ok := rest.(*trailer); !ok || t.start != w.next || w.s != nil && w.s != t.s {
		w.changed = true
	}
}

// trailer is what follows the last entry of a stream.
type trailer struct {
	io.Reader
	s     *stream
	start int64
}
