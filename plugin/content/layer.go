package content

import (
	"context"
	"errors"

	storing "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A layerWriter makes a blob of a layer, and at the same time a snapshot if it is
// going to be one.
type layerWriter struct {
	*blobWriter
	diffID digest.Digest // as the source says
	filler *filler
	fill   *fill // nil: it is not unpacked, or later
	relay  *relay
}

// Layer takes one layer into containerd.
func (s *sink) Layer(ctx context.Context, _ int, l pipeline.Layer) (pipeline.LayerWriter, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	// Its digest is known when it has been written.
	w, err := s.store.write(ctx, ocispec.Descriptor{})
	if err != nil {
		return nil, s.at.explain(ctx, "write a layer", err)
	}
	lw := &layerWriter{blobWriter: w, filler: s.filler, diffID: l.DiffID}
	if s.filler != nil && s.filler.wants(ctx, l) {
		lw.unpack(ctx, len(l.Parents) == 0)
	}
	return lw, nil
}

// unpack begins to unpack what is written. Where that fails, the layer is unpacked
// when it is there.
func (w *layerWriter) unpack(ctx context.Context, lowest bool) {
	var err error
	if w.fill, err = w.filler.prepare(ctx, lowest); err != nil {
		w.fill = nil
		return
	}
	w.relay = newRelay()
	go func(relay *relay, fill *fill) {
		defer relay.abandon()
		if fill.remote {
			w.filler.look(ctx, fill, relay)
			return
		}
		w.filler.from(ctx, fill, relay)
	}(w.relay, w.fill)
}

func (w *layerWriter) Write(p []byte) (int, error) {
	n, err := w.blobWriter.Write(p)
	if w.fill != nil {
		w.relay.Write(p[:n])
	}
	return n, err
}

// Commit gives the layer its digest, which containerd checks.
func (w *layerWriter) Commit(ctx context.Context, blob ocispec.Descriptor, diffID digest.Digest) error {
	var opts []storing.Opt
	if w.fill != nil {
		w.relay.finish(nil)
	}
	if w.fill != nil && !w.fill.remote {
		<-w.fill.done
		if w.fill.err == nil && (diffID == "" || diffID == w.fill.result.DiffID) {
			opts = append(opts, storing.WithLabels(map[string]string{labels.LabelUncompressed: w.fill.result.DiffID.String()}))
		}
	}
	if err := w.commit(ctx, blob, opts...); err != nil {
		return w.store.explain(ctx, "commit layer "+blob.Digest.String(), err)
	}
	if w.fill != nil {
		if w.fill.remote {
			w.filler.applies(w.fill, blob)
		}
		w.filler.keep(ctx, blob.Digest, w.fill)
		w.fill = nil
	}
	return nil
}

// errAbandoned is what a layer ends with that was not committed.
var errAbandoned = errors.New("the layer was abandoned")

// Close discards what was not committed.
func (w *layerWriter) Close() error {
	err := w.blobWriter.Close()
	if w.fill != nil {
		w.relay.finish(errAbandoned)
		if w.fill.remote {
			<-w.fill.looked
			close(w.fill.done) // nobody unpacks it
		}
		w.filler.drop(context.Background(), w.fill)
		w.fill = nil
	}
	return err
}
