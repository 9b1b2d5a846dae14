package filter

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// Pieces are a tar that consists of pieces of other tars in temporary files. It
// can be read again and again.
type pieces struct {
	layers []*spool.File
	extra  *spool.File // headers that are in none of them
	list   []stretch
	err    error // the first one of writing extra
}

// A stretch is bytes of a layer, or of extra where layer is -1.
type stretch struct {
	layer    int
	at, size int64
}

// take appends bytes of a layer.
func (p *pieces) take(layer int, at, n int64) {
	last := len(p.list) - 1
	switch {
	case n == 0:
	case last >= 0 && p.list[last].layer == layer && p.list[last].at+p.list[last].size == at:
		p.list[last].size += n
	default:
		p.list = append(p.list, stretch{layer, at, n})
	}
}

// made appends other bytes.
func (p *pieces) made(b []byte) {
	at := p.extra.Size()
	if _, err := p.extra.Write(b); err != nil && p.err == nil {
		p.err = err
	}
	p.take(-1, at, int64(len(b)))
}

// open reads the tar.
func (p *pieces) open(ctx context.Context) (io.ReadCloser, error) {
	return io.NopCloser(&piecesReader{ctx: ctx, from: p, left: p.list}), nil
}

// sum reads the tar once for its digest and size.
func (p *pieces) sum(ctx context.Context) (l pipeline.Layer, err error) {
	r, err := p.open(ctx)
	if err != nil {
		return l, err
	}
	defer r.Close()
	h := sha256.New()
	l.Blob.Size, err = io.CopyBuffer(h, r, make([]byte, sumBuffer))
	l.Blob.Digest = digest.NewDigest(digest.SHA256, h)
	l.DiffID, l.Open = l.Blob.Digest, p.open
	return l, err
}

// sumBuffer makes few reads of the temporary files.
const sumBuffer = 256 << 10

type piecesReader struct {
	ctx  context.Context //nolint:containedctx // io.Reader has none
	from *pieces
	left []stretch
	at   int64 // within the first stretch left
}

// Read fills b from as many stretches as it takes.
func (r *piecesReader) Read(b []byte) (n int, err error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	for n < len(b) && len(r.left) > 0 {
		p := r.left[0]
		if r.at == p.size {
			r.left, r.at = r.left[1:], 0
			continue
		}
		f := r.from.extra
		if p.layer >= 0 {
			f = r.from.layers[p.layer]
		}
		some, err := f.ReadAt(b[n:min(int64(len(b)), int64(n)+p.size-r.at)], p.at+r.at)
		n, r.at = n+some, r.at+int64(some)
		if err != nil && (some == 0 || !errors.Is(err, io.EOF)) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
