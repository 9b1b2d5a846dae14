package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
)

// source is an archive in a file, or on standard input.
type source struct {
	path  string
	image string // as ?image= says
	cfg   Config
}

var _ pipeline.Source = (*source)(nil)

// Open finds the images of the archive. A plain file is read by offset, several
// blobs at once; all else is read once and kept in a temporary file.
func (s *source) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	if s.path == stdStream {
		// Standard input may block for ever and cannot be closed: hide Close.
		in := struct{ io.Reader }{s.cfg.stdin()}
		return newStream(ctx, "standard input", in, s.cfg, q, s.image)
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	g, err := s.open(ctx, f, q)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return g, nil
}

func (s *source) open(ctx context.Context, f *os.File, q pipeline.Query) (pipeline.Graph, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("it is a directory, not an archive; read it with dir://")
	case !info.Mode().IsRegular():
		return newStream(ctx, s.path, f, s.cfg, q, s.image)
	}
	head := make([]byte, codec.PeekSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if codec.Sniff(head[:n]) != codec.Plain {
		return newStream(ctx, s.path, f, s.cfg, q, s.image)
	}
	a := newArchive(s.path, q.Limits)
	if err := a.scan(ctx, f, info.Size()); err != nil {
		return nil, err
	}
	return a.graph(ctx, s.image, q, f.Close)
}
