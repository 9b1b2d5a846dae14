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
	base, names, err := findVolumes(s.path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, plainError(err))
	}
	if len(names) > 0 {
		return s.openVolumes(ctx, base, names, q)
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

// openVolumes finds the images of an archive in volumes, which is read by offset
// as one in a file is.
func (s *source) openVolumes(ctx context.Context, base string, names []string, q pipeline.Query) (g pipeline.Graph, err error) {
	set, err := openVolumes(base, names)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base, err)
	}
	defer func() {
		if err != nil {
			_ = set.Close()
			err = fmt.Errorf("%s: %w", base, err)
		}
	}()
	head := make([]byte, min(codec.PeekSize, set.total))
	if _, err := set.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if codec.Sniff(head) != codec.Plain {
		// What is wrong with it shows when it is unpacked, too late to tell where.
		if err := set.check(); err != nil {
			return nil, err
		}
		in := struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(set, 0, set.total), set}
		return newStream(ctx, base, in, s.cfg, q, s.image)
	}
	a := newArchive(base, q.Limits)
	a.blame = set.blaming
	if err := a.scan(ctx, set, set.total); err != nil {
		return nil, set.blaming(err, 0, set.total)
	}
	return a.graph(ctx, s.image, q, set.Close)
}
