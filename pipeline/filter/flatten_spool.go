package filter

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// spools are layers as plain tars in temporary files, each once. A layer is read
// from where it is once; its headers several times, its contents when the new
// layer is read.
type spools struct {
	tempDir string
	options pipeline.Options
	have    map[digest.Digest]*spooled
}

type spooled struct {
	*spool.File
	stored pipeline.Compression
}

func newSpools(tempDir string, o pipeline.Options) *spools {
	return &spools{tempDir: tempDir, options: o, have: map[digest.Digest]*spooled{}}
}

// of are the files of layers, and how the layers were stored.
func (s *spools) of(ctx context.Context, layers []pipeline.Layer) (files []*spool.File, stored []pipeline.Compression, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, s.options.Parallel))
	for _, l := range layers {
		if s.have[l.Blob.Digest] != nil {
			continue
		}
		f, err := spool.New(s.tempDir)
		if err != nil {
			return nil, nil, errors.Join(err, group.Wait())
		}
		to := &spooled{File: f}
		s.have[l.Blob.Digest] = to
		group.Go(func() error { return s.readError(l, s.read(ctx, l, to)) })
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for _, l := range layers {
		have := s.have[l.Blob.Digest]
		files, stored = append(files, have.File), append(stored, have.stored)
	}
	return files, stored, nil
}

// readError says which layer could not be read.
func (s *spools) readError(l pipeline.Layer, err error) error {
	var marked *pipeline.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &marked):
		return fmt.Errorf("layer %s: %w", l.Blob.Digest, err)
	}
	return &pipeline.Error{Side: pipeline.SourceSide, Err: fmt.Errorf("layer %s: %w", l.Blob.Digest, err)}
}

// read reads a layer into its file. Its bytes count when all of them have come,
// and are those that its digest and the config promise.
func (s *spools) read(ctx context.Context, l pipeline.Layer, to *spooled) error {
	s.tell(pipeline.Event{Kind: pipeline.EventLayerStart, Layer: l.Blob.Digest, Total: l.Blob.Size})
	raw, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer raw.Close()
	plain, stored, err := codec.NewReader(&told{r: raw, s: s, l: l, ctx: ctx})
	if err != nil {
		return err
	}
	defer plain.Close()
	sum := sha256.New()
	limit := s.options.Limits.WithDefaults().Layer
	n, err := io.CopyBuffer(io.MultiWriter(&explained{to.File, s.tempDir}, sum), io.LimitReader(plain, limit+1), make([]byte, sumBuffer))
	if err != nil {
		return err
	}
	if n > limit {
		return fmt.Errorf("it has more than %d plain bytes: %w (raise it with --max-layer-size)", limit, pipeline.ErrLimit)
	}
	if _, err := io.Copy(io.Discard, raw); err != nil { // the digest counts at the end
		return err
	}
	if got, want := digest.NewDigest(digest.SHA256, sum), l.DiffID; want != "" && want.Algorithm() == digest.SHA256 && got != want {
		return pipeline.DigestError("diff ID of its plain tar", want, got)
	}
	to.stored = stored
	to.End(nil)
	s.tell(pipeline.Event{Kind: pipeline.EventLayerDone, Layer: l.Blob.Digest, Done: l.Blob.Size, Total: l.Blob.Size, How: pipeline.HowRead})
	return nil
}

// plain opens a layer's plain tar where it is.
func (s *spools) plain(ctx context.Context, l pipeline.Layer) (io.ReadCloser, error) {
	raw, err := l.Open(ctx)
	if err != nil {
		return nil, err
	}
	plain, _, err := codec.NewReader(raw)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return readCloser{io.LimitReader(plain, s.options.Limits.WithDefaults().Layer), func() error { return errors.Join(plain.Close(), raw.Close()) }}, nil
}

type readCloser struct {
	io.Reader
	close func() error
}

func (r readCloser) Close() error { return r.close() }

func (s *spools) tell(e pipeline.Event) {
	if s.options.Events != nil {
		s.options.Events(e)
	}
}

func (s *spools) close() (err error) {
	for _, f := range s.have {
		err = errors.Join(err, f.Close())
	}
	return err
}

// told reads a layer and says how far it is.
type told struct {
	r      io.Reader
	s      *spools
	l      pipeline.Layer
	ctx    context.Context //nolint:containedctx // io.Reader has none
	n, was int64
}

// tellEvery spaces the progress events of a layer, in bytes.
const tellEvery = 1 << 20

func (t *told) Read(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := t.r.Read(p)
	if t.n += int64(n); t.n-t.was >= tellEvery {
		t.was = t.n
		t.s.tell(pipeline.Event{Kind: pipeline.EventLayerBytes, Layer: t.l.Blob.Digest, Done: t.n, Total: t.l.Blob.Size})
	}
	return n, err
}

// explained says what helps where a temporary file cannot be written.
type explained struct {
	w       io.Writer
	tempDir string
}

func (e *explained) Write(p []byte) (int, error) {
	n, err := e.w.Write(p)
	if err != nil {
		err = &pipeline.Error{Side: pipeline.FilterSide, Err: spool.Explain(e.tempDir, err)}
	}
	return n, err
}
