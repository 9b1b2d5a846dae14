package tarball

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/occystrap/occystrap/pipeline"
)

// scan reads the headers of a plain archive in a file, skipping what is
// between them.
func (a *archive) scan(ctx context.Context, f io.ReaderAt, size int64) error {
	file, _ := f.(*os.File) // volumes are several
	a.section = func(_ context.Context, off, n int64) io.Reader {
		return &stretch{io.NewSectionReader(f, off, n), pipeline.Section{File: file, Off: off, Size: n}}
	}
	r := io.NewSectionReader(f, 0, size)
	tr := tar.NewReader(r)
	last := ""
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return a.checkEmpty()
		}
		if err != nil {
			return explainTar(err, last, a.entries == 0)
		}
		m, err := a.member(h)
		if err != nil {
			return err
		}
		last = h.Name
		if m == nil {
			continue
		}
		if m.off, err = r.Seek(0, io.SeekCurrent); err != nil {
			return err
		}
		if m.size > size-m.off {
			return explainTar(io.ErrUnexpectedEOF, last, false)
		}
		if err := a.add(ctx, m); err != nil {
			return err
		}
	}
}

// A stretch is a part of an archive in a file.
type stretch struct {
	*io.SectionReader
	where pipeline.Section
}

// Section is where it lies, if that is one file.
func (s *stretch) Section() (pipeline.Section, bool) { return s.where, s.where.File != nil }

// Close leaves the file open: other members are read from it.
func (s *stretch) Close() error { return nil }

func (a *archive) checkEmpty() error {
	if a.entries == 0 {
		return errors.New("it is empty; save the image again")
	}
	return nil
}

// explainTar says what a reader of tar makes of damage, and what helps.
func explainTar(err error, last string, first bool) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && first:
		return fmt.Errorf("it is not a tar archive, or cut short in its first header: %w; copy or save the archive again", io.ErrUnexpectedEOF)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("it is cut short after the start of %s: %w; copy or save the archive again", last, io.ErrUnexpectedEOF)
	case errors.Is(err, tar.ErrHeader) && first:
		return errors.New("it is not a tar archive; write one with docker save, podman save or skopeo copy")
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("it is damaged after %s: %w; copy or save the archive again", last, err)
	}
	return err
}
