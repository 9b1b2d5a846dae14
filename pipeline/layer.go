package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// layer runs one layer, again while an end fails in a way that may pass.
func (r *run) layer(ctx context.Context, seq int, l Layer) (*outcome, error) {
	if l.Foreign.unread() {
		return r.foreign(seq, l), nil
	}
	for try := 0; ; try++ {
		t := &transfer{run: r, seq: seq, layer: l, out: &outcome{layer: l, LayerReport: LayerReport{Source: l.Blob, SourceDiffID: l.DiffID}}}
		do := t.do
		switch {
		case r.sink == nil:
			do = t.onlyLook
		case r.early && !r.touches():
			do = t.orHeld
		}
		err := do(ctx)
		if err == nil {
			t.remember()
			r.opts.Events.emit(Event{Kind: EventLayerDone, Layer: l.Blob.Digest, Done: l.Blob.Size, Total: l.Blob.Size, How: t.out.How})
			return t.out, nil
		}
		if try >= r.opts.Retries || !mayPass(err) || ctx.Err() != nil {
			return nil, fmt.Errorf("layer %s: %w", short(l.Blob.Digest), err)
		}
		r.opts.Events.Detail(fmt.Sprintf("layer %s runs again: %v", short(l.Blob.Digest), err))
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
	}
}

// foreign leaves a layer where its URLs point, or out of the image.
func (r *run) foreign(seq int, l Layer) *outcome {
	how := HowForeign
	if l.Foreign == ForeignSkip {
		how = HowSkipped
	}
	r.skip(seq)
	r.opts.Events.emit(Event{Kind: EventLayerDone, Layer: l.Blob.Digest, How: how})
	return &outcome{layer: l, LayerReport: LayerReport{Source: l.Blob, Result: l.Blob, SourceDiffID: l.DiffID, ResultDiffID: l.DiffID, How: how}}
}

func (r *run) skip(seq int) {
	if s, ok := r.sink.(Skipper); ok {
		s.Skip(seq)
	}
}

// mayPass says whether an end marked its error as one that may not come again.
func mayPass(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// pause waits 1, 2, 4 … seconds.
func pause(ctx context.Context, try int) error {
	t := time.NewTimer(time.Second << min(try, 5))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// short is a digest as people read it.
func short(d digest.Digest) string {
	const enough = 12
	if d == "" {
		return "that still arrives"
	}
	if e := d.Encoded(); len(e) > enough {
		return e[:enough]
	}
	return d.String()
}

// build puts the filters before end. When none of them wants to see the layer,
// the result is end itself.
func (t *transfer) build(ctx context.Context, end tarstream.Handler) (tarstream.Handler, error) {
	t.out.Notes, t.joined = nil, nil
	if t.layer.Role == Opaque {
		return end, nil
	}
	info := LayerInfo{Layer: t.layer, ID: LayerID{keyOf(t.layer, t.run.below)}, PlainOf: openPlain, Note: t.note}
	info.Plain = func(ctx context.Context) (io.ReadCloser, error) { return openPlain(ctx, t.layer) }
	h := end
	for i := len(t.run.chain) - 1; i >= 0; i-- {
		var err error
		info.Filtered, info.Final = i > t.run.firstEdit, i >= t.run.lastEdit
		next := h
		if h, err = t.run.chain[i].Layer(ctx, info, next); err != nil {
			return nil, on(FilterSide, err)
		}
		if !leftAlone(h, next) {
			t.joined = append(t.joined, t.run.chain[i])
		}
	}
	slices.Reverse(t.joined)
	return h, nil
}

func (t *transfer) note(message string) { t.out.Notes = append(t.out.Notes, message) }
