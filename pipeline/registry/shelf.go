package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// A Shelf holds images that somebody is to pull. What a client never asks for is
// never read:
//
//	Lend     a layer that can be read again where it comes from
//	Receive  one that cannot, since it was made on the way: a temporary file
//	Put      manifests and configs, in memory
//
// Its methods may be called at once by many goroutines. Close gives the files
// back.
type Shelf struct {
	tempDir string

	mu        sync.Mutex
	lent      map[digest.Digest]pipeline.Layer
	kept      map[digest.Digest]*spool.File
	small     map[digest.Digest][]byte
	manifests map[digest.Digest]ocispec.Descriptor
	tags      map[string]digest.Digest
	read      map[digest.Digest]int64
	failed    func(error)
}

// NewShelf returns an empty one; tempDir "" is the system's directory.
func NewShelf(tempDir string) *Shelf {
	return &Shelf{
		tempDir: tempDir, lent: map[digest.Digest]pipeline.Layer{}, kept: map[digest.Digest]*spool.File{}, small: map[digest.Digest][]byte{},
		manifests: map[digest.Digest]ocispec.Descriptor{}, tags: map[string]digest.Digest{}, read: map[digest.Digest]int64{},
	}
}

// Lend puts a layer on the shelf that is opened where it comes from, each time
// that somebody asks for it.
func (s *Shelf) Lend(l pipeline.Layer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent[l.Blob.Digest] = l
}

// Receive returns a writer for a layer; it is on the shelf once it was committed.
func (s *Shelf) Receive() (pipeline.LayerWriter, error) {
	f, err := spool.New(s.tempDir)
	if err != nil {
		return nil, err
	}
	return &shelfWriter{File: f, s: s}, nil
}

type shelfWriter struct {
	*spool.File
	s     *Shelf
	ended bool
}

func (w *shelfWriter) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	if err != nil {
		err = spool.Explain(w.s.tempDir, err)
	}
	return n, err
}

// Commit puts the layer on the shelf, unless it is there.
func (w *shelfWriter) Commit(_ context.Context, blob ocispec.Descriptor, _ digest.Digest) error {
	if w.Size() != blob.Size {
		return fmt.Errorf("layer %s: %w: %d bytes came, its descriptor says %d", blob.Digest, pipeline.ErrDigest, w.Size(), blob.Size)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if _, lent := w.s.lent[blob.Digest]; !lent && w.s.kept[blob.Digest] == nil {
		w.End(nil)
		w.s.kept[blob.Digest], w.ended = w.File, true
	}
	return nil
}

func (w *shelfWriter) Close() error {
	if w.ended {
		return nil
	}
	return w.File.Close()
}

// Put puts a manifest and its config on the shelf.
func (s *Shelf) Put(m pipeline.Manifest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Config != nil {
		var fields struct {
			Config ocispec.Descriptor `json:"config"`
		}
		if err := json.Unmarshal(m.Raw, &fields); err != nil {
			return fmt.Errorf("read manifest %s: %w", m.Desc.Digest, err)
		}
		s.small[fields.Config.Digest] = m.Config
	}
	s.small[m.Desc.Digest] = m.Raw
	s.manifests[m.Desc.Digest] = ocispec.Descriptor{MediaType: m.Desc.MediaType, Digest: m.Desc.Digest, Size: int64(len(m.Raw))}
	return nil
}

// Holds says whether a layer can be opened.
func (s *Shelf) Holds(d digest.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, lent := s.lent[d]
	return lent || s.kept[d] != nil
}

// size is that of a blob; ErrNotFound where there is none.
func (s *Shelf) size(d digest.Digest) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := s.lent[d]; ok {
		return l.Blob.Size, nil
	}
	if f := s.kept[d]; f != nil {
		return f.Size(), nil
	}
	if b, ok := s.small[d]; ok {
		return int64(len(b)), nil
	}
	return 0, fmt.Errorf("blob %s: %w", d, pipeline.ErrNotFound)
}

// Read is how many bytes of a layer were handed out.
func (s *Shelf) Read(d digest.Digest) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read[d]
}

// Tag gives a manifest on the shelf a tag.
func (s *Shelf) Tag(tag string, d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags[tag] = d
}

// Failed is told from now on why a layer could not be read, which a client does
// not learn.
func (s *Shelf) Failed(tell func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = tell
}

// Open reads a layer from its start.
func (s *Shelf) Open(ctx context.Context, d digest.Digest) (io.ReadCloser, ocispec.Descriptor, error) {
	s.mu.Lock()
	l, lent := s.lent[d]
	f := s.kept[d]
	s.mu.Unlock()
	switch {
	case lent:
		rc, err := l.Open(ctx)
		return rc, l.Blob, err
	case f != nil:
		return io.NopCloser(f.Section(ctx, 0, f.Size())), ocispec.Descriptor{Digest: d, Size: f.Size()}, nil
	}
	return nil, ocispec.Descriptor{}, fmt.Errorf("blob %s: %w", d, pipeline.ErrNotFound)
}

// Close takes everything off the shelf and gives the temporary files back.
func (s *Shelf) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.kept {
		errs = append(errs, f.Close())
	}
	clear(s.kept)
	clear(s.lent)
	return errors.Join(errs...)
}
