package tarball

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/codec"
	"github.com/occystrap/occystrap/pipeline/internal/spool"
)

// read takes in the whole archive; it runs in a goroutine of its own.
func (g *streamGraph) read(ctx context.Context) {
	defer close(g.done)
	err := g.receive(ctx)
	if ctx.Err() != nil {
		err = ctx.Err() // Close came first: what a closed input says is noise
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", g.what, err)
	}
	g.spool.End(err)
	g.End(err)
}

func (g *streamGraph) receive(ctx context.Context) error {
	rc, c, err := codec.NewReader(&stoppable{ctx, g.in})
	if err != nil {
		return err
	}
	defer rc.Close()
	r := &stoppable{ctx, rc}
	tr := tar.NewReader(r)
	rcv := receiver{g: g, buf: make([]byte, bufferSize)}
	last := ""
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			last, err = h.Name, rcv.entry(ctx, h, tr)
		}
		if err != nil {
			return explainStream(err, c, last, g.arch.entries == 0)
		}
	}
	// What follows the end of a tar is padding, but a compressed stream's check
	// sum is behind it, and who writes to a pipe must not find it closed.
	if _, err := io.CopyBuffer(io.Discard, r, rcv.buf); err != nil {
		return explainStream(err, c, last, false)
	}
	return g.arch.checkEmpty()
}

// explainStream adds what the compression of the whole has to do with it.
func explainStream(err error, c codec.Compression, last string, first bool) error {
	err = explainTar(err, last, first)
	if c != codec.Plain {
		return fmt.Errorf("(%s) %w", c, err)
	}
	return err
}

// stoppable ends a stream with its context, between two reads.
type stoppable struct {
	ctx context.Context //nolint:containedctx // an io.Reader has no other place
	r   io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// receiver puts members into the temporary file.
type receiver struct {
	g   *streamGraph
	buf []byte
}

// entry takes in one member.
func (r *receiver) entry(ctx context.Context, h *tar.Header, content io.Reader) error {
	a := r.g.arch
	m, err := a.member(h)
	if err != nil || m == nil {
		return err
	}
	if m.link != "" {
		return a.add(ctx, m)
	}
	d := blobDigest(m.name)
	if d != "" && a.members[m.name] != nil {
		return a.add(ctx, m) // the first counts; the tar reader skips this one
	}
	m.off = r.g.spool.Size()
	head, err := r.fill(content, m.size)
	if err != nil {
		return err
	}
	layer := r.looksLikeLayer(m.name, head)
	if d != "" {
		if layer {
			r.g.Announce(r.g.layer(m, d))
		}
		return r.rest(ctx, m, head, content, nil)
	}
	if err := r.rest(ctx, m, head, content, digest.Canonical.Hash()); err != nil {
		return err
	}
	if layer && a.blobs[m.sum] == nil {
		a.blobs[m.sum] = m
		r.g.Announce(r.g.layer(m, m.sum))
	}
	return nil
}

// fill reads the first bytes of a member, as many as come at once.
func (r *receiver) fill(content io.Reader, size int64) ([]byte, error) {
	n, err := io.ReadAtLeast(content, r.buf, int(min(size, codec.PeekSize)))
	if err != nil && size > 0 {
		return nil, noEOF(err)
	}
	return r.buf[:n], nil
}

// rest writes a member into the temporary file, and hashes it where its name
// is not its digest.
func (r *receiver) rest(ctx context.Context, m *member, head []byte, content io.Reader, h hash.Hash) error {
	w := io.Writer(r.g.spool)
	if h != nil {
		w = io.MultiWriter(w, h)
	}
	in := errorsAside{r: content}
	if _, err := w.Write(head); err != nil {
		return spool.Explain(r.g.cfg.TempDir, err)
	}
	n, err := io.CopyBuffer(w, &in, r.buf)
	switch {
	case in.err != nil:
		return in.err
	case err != nil:
		return spool.Explain(r.g.cfg.TempDir, err)
	case int64(len(head))+n < m.size:
		return io.ErrUnexpectedEOF
	}
	if h != nil {
		m.sum = digest.NewDigest(digest.Canonical, h)
	}
	return r.g.arch.add(ctx, m)
}

// errorsAside keeps what reading failed with, apart from what writing did.
type errorsAside struct {
	r   io.Reader
	err error
}

func (e *errorsAside) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}

// looksLikeLayer tells a layer from a manifest or config, before any manifest
// was seen. What it does not find is found later.
func (r *receiver) looksLikeLayer(name string, head []byte) bool {
	if !r.g.trusted || r.g.q.NeedsManifests() || len(head) == 0 {
		return false
	}
	if text := bytes.TrimLeft(head, " \t\r\n"); len(text) == 0 || text[0] == '{' || text[0] == '[' {
		return false
	}
	if blobDigest(name) != "" {
		return true
	}
	base := path.Base(name)
	return strings.HasSuffix(base, ".tar") || strings.HasSuffix(base, ".tar.gz") || strings.HasSuffix(base, ".tgz")
}

// layer is a blob whose manifest was not seen yet.
func (g *streamGraph) layer(m *member, d digest.Digest) pipeline.Layer {
	desc := ocispec.Descriptor{Digest: d, Size: m.size}
	return pipeline.Layer{Blob: desc, Role: pipeline.Unknown, Open: func(ctx context.Context) (io.ReadCloser, error) {
		return g.arch.verified(ctx, m, d), nil
	}}
}
