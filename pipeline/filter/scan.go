package filter

import (
	"context"
	"fmt"
	"io"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// An opener opens a layer's plain tar from the start.
type opener func() (io.ReadCloser, error)

// plain opens the layer that is being filtered, as the source holds it.
func plain(ctx context.Context, l pipeline.LayerInfo) opener {
	return func() (io.ReadCloser, error) { return l.Plain(ctx) }
}

// plainOf opens one of its parents.
func plainOf(ctx context.Context, l pipeline.LayerInfo, parent pipeline.Layer) opener {
	return func() (io.ReadCloser, error) { return l.PlainOf(ctx, parent) }
}

// readable says whether a parent is a tar that can be opened.
func readable(l pipeline.Layer) bool {
	return l.Role != pipeline.Opaque && (l.Foreign == "" || l.Foreign == pipeline.ForeignFetch)
}

// scan shows every named entry of a tar to look. It reads to the end of the
// tar even if look needs no more: only there is known whether the bytes are
// those that the layer's digest promises.
func scan(open opener, look visitor) error {
	r, err := open()
	if err != nil {
		return fmt.Errorf("open layer: %w", err)
	}
	defer r.Close()
	return tarstream.Read(r, 0, look)
}

// visitor is a Handler that looks at named entries.
type visitor func(*tarstream.Entry) error

var _ tarstream.Handler = visitor(nil)

// Entry shows the entry to v.
func (v visitor) Entry(e *tarstream.Entry) error {
	if e.Header().Type == tarstream.TypeGlobal {
		return nil
	}
	return v(e)
}

// End does nothing: tarstream.Read reads on to the end.
func (v visitor) End(io.Reader) error { return nil }
