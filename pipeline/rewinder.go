package pipeline

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/occystrap/occystrap/pipeline/internal/codec"
)

// rewindSize is how many stored bytes of a layer are kept while it is scanned.
// Nearly every filter that changes a layer changes one of its first entries;
// within this much the layer need not be opened twice, nor a sink be bothered
// with bytes that it must forget.
const rewindSize = 512 << 10

// A rewinder remembers the first bytes of a stream, until there are more of
// them than rewindSize; then all go to overflow, as they are read.
type rewinder struct {
	r        io.Reader
	kept     []byte
	spent    bool // kept is no longer all that was read
	overflow io.Writer
}

func newRewinder(r io.Reader) *rewinder { return &rewinder{r: r} }

func (w *rewinder) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n == 0 {
		return n, err
	}
	switch {
	case w.spent && w.overflow != nil:
		if _, werr := w.overflow.Write(p[:n]); werr != nil {
			return 0, werr
		}
	case w.spent:
	case len(w.kept)+n <= rewindSize:
		w.kept = append(w.kept, p[:n]...)
	default:
		w.spent = true
		if w.overflow != nil {
			if _, werr := w.overflow.Write(w.kept); werr != nil {
				return 0, werr
			}
			if _, werr := w.overflow.Write(p[:n]); werr != nil {
				return 0, werr
			}
		}
		w.kept = nil
	}
	return n, err
}

// sniff tells the compression and goes back to the start.
func (w *rewinder) sniff() (Compression, error) {
	head := make([]byte, codec.PeekSize)
	n, err := io.ReadFull(w, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", err
	}
	w.r, w.kept = io.MultiReader(bytes.NewReader(slices.Clone(w.kept)), w.r), nil
	return codec.Sniff(head[:n]), nil
}

// again is the whole stream from its start. It may be called while not spent.
func (w *rewinder) again() io.Reader {
	return io.MultiReader(bytes.NewReader(w.kept), w.r)
}

// finish hands over what overflow has not seen at the end of the stream.
func (w *rewinder) finish(overflow *passThrough) error {
	if w.spent {
		return nil
	}
	_, err := overflow.Write(w.kept)
	return err
}

// passThrough is the sink's writer for a layer of which it is not known yet what
// it becomes, opened at the first byte.
type passThrough struct {
	t     *transfer
	ctx   context.Context //nolint:containedctx // of the transfer; io.Writer has none
	fresh bool            // the bytes may turn out to be others than those of the layer
	w     LayerWriter
}

func (p *passThrough) Write(b []byte) (int, error) {
	if p.w == nil {
		l := p.t.layer
		if p.fresh {
			l = p.t.fresh()
		}
		w, err := p.t.writer(p.ctx, l)
		if err != nil {
			return 0, err
		}
		p.w = w
	}
	return p.w.Write(b)
}

// Close discards what was written, unless it was committed.
func (p *passThrough) Close() error {
	if p.w == nil {
		return nil
	}
	return p.w.Close()
}
