package pipeline

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/internal/codec"
)

// open opens the layer; its errors are the source's, and its bytes are
// reported.
func (t *transfer) open(ctx context.Context) (*sourceReader, error) {
	rc, err := t.layer.Open(ctx)
	if err != nil {
		return nil, on(SourceSide, err)
	}
	return &sourceReader{ReadCloser: rc, ctx: ctx, t: t, name: t.learning(rc)}, nil
}

type sourceReader struct {
	io.ReadCloser
	ctx         context.Context //nolint:containedctx // io.Reader has none
	t           *transfer
	name        learning
	n, reported int64
}

// reportEvery spaces the progress events of a layer, in bytes.
const reportEvery = 1 << 20

func (s *sourceReader) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.ReadCloser.Read(p)
	s.n += int64(n)
	s.name.add(p[:n])
	if s.n-s.reported >= reportEvery {
		s.reported = s.n
		s.t.run.opts.Events.emit(Event{Kind: EventLayerBytes, Layer: s.t.layer.Blob.Digest, Done: s.n, Total: s.t.layer.Blob.Size})
	}
	if err == io.EOF { //nolint:errorlint // readers return it as it is
		s.t.learn(s.name, s.n)
	} else if err != nil {
		err = on(SourceSide, err)
	}
	return n, err
}

// section is where the layer lies in a file; of size 0 where it does not.
func (s *sourceReader) section() Section {
	if f, ok := s.ReadCloser.(InFile); ok {
		if where, ok := f.Section(); ok {
			return where
		}
	}
	return Section{}
}

// writer opens the sink's end; its errors are the sink's.
func (t *transfer) writer(ctx context.Context, l Layer) (*sinkWriter, error) {
	w, err := t.run.sink.Layer(ctx, t.seq, l)
	if err != nil {
		return nil, on(SinkSide, err)
	}
	return &sinkWriter{w}, nil
}

type sinkWriter struct{ LayerWriter }

func (w *sinkWriter) Write(p []byte) (int, error) {
	n, err := w.LayerWriter.Write(p)
	return n, on(SinkSide, err)
}

// limited bounds the plain bytes of a layer; its errors are the source's, whose
// bytes do not decode.
func (t *transfer) limited(r io.Reader) *limitReader {
	return &limitReader{r: r, left: t.run.limits.Layer, limit: t.run.limits.Layer}
}

func tooLarge(limit int64) error {
	return on(SourceSide, fmt.Errorf("it has more than %d plain bytes: %w (raise it with --max-layer-size)", limit, ErrLimit))
}

type limitReader struct {
	r           io.Reader
	left, limit int64
}

func (l *limitReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, tooLarge(l.limit)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = on(SourceSide, err)
	}
	return n, err
}

// stored encodes a plain tar into a sink's writer and names both.
type stored struct {
	out     *bufio.Writer
	enc     io.WriteCloser
	diffID  hash.Hash
	digest  hash.Hash
	size    int64 // plain bytes
	written int64 // stored bytes
}

// storedBuffer gathers the small writes of the compressors.
const storedBuffer = 128 << 10

func newStored(w io.Writer, e Encoding) (s *stored, err error) {
	s = &stored{diffID: sha256.New(), digest: sha256.New()}
	s.out = bufio.NewWriterSize(writeFunc(func(p []byte) (int, error) {
		s.digest.Write(p)
		s.written += int64(len(p))
		return w.Write(p)
	}), storedBuffer)
	s.enc, err = codec.NewWriter(s.out, e.Compression, e.Level)
	return s, err
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }

// plain is where the plain tar is written to.
func (s *stored) plain() io.Writer {
	return writeFunc(func(p []byte) (int, error) {
		s.diffID.Write(p)
		s.size += int64(len(p))
		return s.enc.Write(p)
	})
}

// close ends the compression and returns the names.
func (s *stored) close() (ocispec.Descriptor, digest.Digest, error) {
	if err := s.enc.Close(); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	if err := s.out.Flush(); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	return ocispec.Descriptor{Digest: digest.NewDigest(digest.SHA256, s.digest), Size: s.written},
		digest.NewDigest(digest.SHA256, s.diffID), nil
}

// openPlain opens a layer's plain tar for a second pass.
func openPlain(ctx context.Context, l Layer) (io.ReadCloser, error) {
	if l.Foreign.unread() {
		return nil, fmt.Errorf("foreign layer %s: %w", l.Blob.Digest, ErrNotFound)
	}
	raw, err := l.Open(ctx)
	if err != nil {
		return nil, on(SourceSide, err)
	}
	plain, _, err := codec.NewReader(raw)
	if err != nil {
		return nil, errors.Join(on(SourceSide, err), raw.Close())
	}
	return &bothClosers{plain, raw}, nil
}

type bothClosers struct {
	io.ReadCloser
	below io.Closer
}

func (b *bothClosers) Close() error { return errors.Join(b.ReadCloser.Close(), b.below.Close()) }

// copySize is large enough that system calls and TLS records do not count.
const copySize = 256 << 10

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copySize); return &b }}

func copyAll(w io.Writer, r io.Reader) error {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	// Hidden behind plain interfaces: a ReadFrom would choose its own buffer.
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, *buf)
	return err
}
