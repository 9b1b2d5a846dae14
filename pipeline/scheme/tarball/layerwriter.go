package tarball

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// buffers are shared by layers in flight: compressors write a few bytes at a
// time.
var buffers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, bufferSize) }}

// layerWriter receives one layer, in place or in a temporary file.
type layerWriter struct {
	s    *sink
	slot *slot
	buf  *bufio.Writer // nil once the writer has ended
	n    int64
}

var _ pipeline.FileWriter = (*layerWriter)(nil)

func newLayerWriter(s *sink, sl *slot) *layerWriter {
	w := &layerWriter{s: s, slot: sl, buf: buffers.Get().(*bufio.Writer)}
	w.buf.Reset(&slotWriter{queue: s.queue, slot: sl})
	return w
}

// slotWriter writes to where a slot's bytes belong.
type slotWriter struct {
	queue *queue
	slot  *slot
	n     int64
}

func (w *slotWriter) Write(p []byte) (n int, err error) {
	if w.slot.off == nowhere {
		w.queue.promote(w.slot)
	}
	if w.slot.off == nowhere {
		if n, err = w.slot.temp.Write(p); err != nil {
			err = spool.Explain(w.queue.tempDir, err)
		}
	} else {
		n, err = w.queue.m.file.WriteAt(p, w.slot.off+w.slot.head+w.n)
		err = plainError(err)
	}
	w.n += int64(n)
	return n, err
}

// Write takes the layer's bytes. More than promised are refused: in place, they
// would run into the next layer.
func (w *layerWriter) Write(p []byte) (int, error) {
	if w.buf == nil {
		return 0, fmt.Errorf("layer %d was ended before", w.slot.seq)
	}
	w.n += int64(len(p))
	if w.slot.size != unknownSize && w.n > w.slot.size {
		return 0, fmt.Errorf("layer %d: %w: more than its %d bytes", w.slot.seq, pipeline.ErrDigest, w.slot.size)
	}
	n, err := w.buf.Write(p)
	return n, w.s.explain(err)
}

// Place is where the layer goes: in the archive, or in its temporary file.
func (w *layerWriter) Place() (pipeline.Section, bool) {
	if w.buf == nil || w.n > 0 || w.slot.size == unknownSize {
		return pipeline.Section{}, false
	}
	if w.slot.off == nowhere {
		w.s.queue.promote(w.slot)
	}
	if w.slot.off == nowhere {
		return pipeline.Section{File: w.slot.temp}, w.slot.temp != nil
	}
	file, ok := w.s.queue.m.file.(*os.File) // volumes are several
	return pipeline.Section{File: file, Off: w.slot.off + w.slot.head}, ok
}

// Placed says that the layer is there.
func (w *layerWriter) Placed(n int64) { w.n = n }

// Commit gives the layer its name in the archive, and its place.
func (w *layerWriter) Commit(_ context.Context, blob ocispec.Descriptor, diffID digest.Digest) error {
	if w.buf == nil {
		return fmt.Errorf("layer %d was ended before", w.slot.seq)
	}
	if err := blob.Digest.Validate(); err != nil {
		return fmt.Errorf("layer %d: digest %q: %w", w.slot.seq, blob.Digest, err)
	}
	if w.n != blob.Size {
		return fmt.Errorf("layer %s: %w: %d bytes came, its descriptor says %d", blob.Digest, pipeline.ErrDigest, w.n, blob.Size)
	}
	if w.s.cfg.Format == FormatDocker && diffID != "" && diffID != blob.Digest {
		return fmt.Errorf("layer %s: %w", blob.Digest, errNotDocker("compressed layers"))
	}
	if done, err := w.s.takeBack(w, blob.Digest, diffID); done || err != nil {
		return err
	}
	if err := w.buf.Flush(); err != nil {
		return w.s.explain(err)
	}
	w.release()
	if err := w.s.queue.done(w.slot, w.s.layerName(blob.Digest), w.n); err != nil {
		return w.s.explain(err)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.committed[blob.Digest] = true
	return nil
}

// Close without Commit takes the layer back.
func (w *layerWriter) Close() error {
	if w.buf == nil {
		return nil
	}
	w.release()
	return w.s.explain(w.s.queue.discard(w.slot))
}

func (w *layerWriter) release() {
	w.buf.Reset(nil)
	buffers.Put(w.buf)
	w.buf = nil
}
