package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// stages is where a chain of filters has to be cut in two runs: before the last
// Reshaper, if a filter stands before it that has to see the images as they were.
// 0: nowhere.
func stages(filters []Filter) int {
	for at, f := range slices.Backward(filters) {
		if _, ok := f.(Reshaper); ok {
			if slices.ContainsFunc(filters[:at], func(f Filter) bool { return !onlyChooses(f) }) {
				return at
			}
			return 0
		}
	}
	return 0
}

func onlyChooses(f Filter) bool {
	switch f.(type) {
	case LayerFilter, ConfigFilter, Annotator, Finisher, Reshaper:
		return false
	}
	return true
}

// inStages is Run after the filters have said what of the source comes along.
func inStages(ctx context.Context, src Source, filters []Filter, dst Sink, opts Options) (Report, error) {
	if at := stages(filters); at > 0 {
		return staged(ctx, src, filters, at, dst, opts)
	}
	return runChosen(ctx, src, filters, dst, opts)
}

// staged runs the filters up to a place into temporary files, and the rest from
// there to dst.
func staged(ctx context.Context, src Source, filters []Filter, at int, dst Sink, opts Options) (report Report, err error) {
	between := &stage{tempDir: opts.TempDir, blobs: map[digest.Digest]*spool.File{}, small: map[digest.Digest][]byte{}, speak: map[digest.Digest][]Referrer{}, final: dst}
	defer func() { err = errors.Join(err, on(FilterSide, between.remove())) }()
	first := opts
	first.Storing, first.Provenance, first.Cache = Storing{}, Provenance{}, nil
	first.became = map[digest.Digest]origin{}
	before, err := inStages(ctx, src, filters[:at], between, first)
	if err != nil {
		return before, errors.Join(err, on(SinkSide, dst.Close()))
	}
	opts.Platforms, opts.Missing, opts.origins = Platforms{All: true}, MissingFail, first.became
	report, err = runChosen(ctx, between, filters[at:], dst, opts)
	report.Layers = append(before.Layers, report.Layers...)
	report.Dropped = append(before.Dropped, report.Dropped...)
	report.Read, report.Rewrote = before.Read, before.Rewrote+report.Rewrote
	report.Duration += before.Duration
	return report, err
}

// An origin is what a manifest was before the first filter.
type origin struct {
	mediaType        string
	manifest, config digest.Digest // config is an image's; "" while nobody knows
}

func (r *run) origin(m Manifest) origin {
	if o, ok := r.opts.origins[m.Desc.Digest]; ok {
		return o
	}
	return origin{mediaType: m.Desc.MediaType, manifest: m.Desc.Digest}
}

// differs says whether a manifest is another one than before the first filter.
func (m *rewritten) differs() bool { return m.Desc.Digest != m.origin.manifest }

// A stage is where images wait between two runs: layers in temporary files without
// names, the rest in memory.
type stage struct {
	tempDir string
	final   Sink // where the images go in the end

	mu    sync.Mutex
	blobs map[digest.Digest]*spool.File
	small map[digest.Digest][]byte
	speak map[digest.Digest][]Referrer // of a manifest
	roots []Root
}

var (
	_ Sink    = (*stage)(nil)
	_ Limited = (*stage)(nil)
	_ Source  = (*stage)(nil)

	_ Referring = stageContent{}
)

// Capacity is that of the last sink: nothing comes here that cannot go on.
func (s *stage) Capacity(ctx context.Context) (Capacity, error) {
	if l, ok := s.final.(Limited); ok {
		return l.Capacity(ctx)
	}
	return Capacity{}, nil
}

// Plan takes layers as they come.
func (s *stage) Plan(context.Context, Layer) (Plan, error) { return Plan{}, nil }

// Layer takes one layer.
func (s *stage) Layer(context.Context, int, Layer) (LayerWriter, error) {
	f, err := spool.New(s.tempDir)
	if err != nil {
		return nil, err
	}
	return &stageWriter{File: f, s: s}, nil
}

type stageWriter struct {
	*spool.File
	s    *stage
	kept bool
}

func (w *stageWriter) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	if err != nil {
		err = spool.Explain(w.s.tempDir, err)
	}
	return n, err
}

func (w *stageWriter) Commit(_ context.Context, blob ocispec.Descriptor, _ digest.Digest) error {
	w.End(nil)
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.blobs[blob.Digest] == nil {
		w.s.blobs[blob.Digest], w.kept = w.File, true
	}
	return nil
}

func (w *stageWriter) Close() error {
	if w.kept {
		return nil
	}
	return w.File.Close()
}

// Commit keeps a manifest.
func (s *stage) Commit(_ context.Context, m Manifest) error {
	s.small[m.Desc.Digest] = m.Raw
	if m.Config != nil {
		im, err := parseManifest(m.Desc, m.Raw)
		if err != nil {
			return err
		}
		s.small[im.Config.Digest] = m.Config
	}
	for _, r := range m.Refers {
		s.speak[r.Subject] = append(s.speak[r.Subject], Referrer{Desc: m.Desc, Tag: r.Tag})
	}
	if m.Root {
		s.roots = append(s.roots, Root{Desc: m.Desc, Names: m.Names})
	}
	return nil
}

// Publish does nothing: nobody but the next run sees the images.
func (s *stage) Publish(context.Context) error { return nil }

// Close does nothing; remove gives the files back.
func (s *stage) Close() error { return nil }

func (s *stage) remove() (err error) {
	for _, f := range s.blobs {
		err = errors.Join(err, f.Close())
	}
	return err
}

// Open gives the images to the second run.
func (s *stage) Open(ctx context.Context, q Query) (Graph, error) {
	return Resolve(ctx, stageContent{s}, s.roots, q, ResolveOptions{}, nil)
}

// stageContent is a stage as a place that holds blobs.
type stageContent struct{ *stage }

// Fetch returns a manifest or config.
func (s stageContent) Fetch(_ context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if b, ok := s.small[desc.Digest]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("blob %s: %w", desc.Digest, ErrNotFound)
}

// Holds says whether a blob is here.
func (s stageContent) Holds(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	return s.small[desc.Digest] != nil || s.blobs[desc.Digest] != nil, nil
}

// Open opens a layer.
func (s stageContent) Open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	f := s.blobs[desc.Digest]
	if f == nil {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, ErrNotFound)
	}
	return io.NopCloser(f.Section(ctx, 0, f.Size())), nil
}

// Referrers lists what came for what it speaks of.
func (s stageContent) Referrers(_ context.Context, subject digest.Digest) ([]Referrer, error) {
	return s.speak[subject], nil
}
