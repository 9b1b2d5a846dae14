package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A blob reads one blob of the registry, verifies it, and goes on where it was
// when the connection is cut.
type blob struct {
	ctx      context.Context //nolint:containedctx // io.Reader has no context; this one is Open's
	client   *client
	desc     ocispec.Descriptor
	verifier digest.Verifier
	body     io.ReadCloser // nil: to be connected
	offset   int64
	failures int   // since progress was last made
	restart  int64 // the offset at the last failure
	cut      error // to be mended at the next read
	done     error // the end, once reached
}

// enoughProgress makes the retries count anew. A smaller number would let a
// server that sends a byte per connection keep us for ever.
const enoughProgress = 1 << 20

// openBlob connects at once, so that a missing blob is an error here.
func (c *client) openBlob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	b := &blob{ctx: ctx, client: c, desc: desc}
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("blob %q: %w", printable(desc.Digest.String()), err)
	}
	if desc.Size < 0 {
		return nil, fmt.Errorf("%s: its size is %d", b.name(), desc.Size)
	}
	b.verifier = desc.Digest.Verifier()
	body, err := c.connect(ctx, desc, 0)
	for err != nil && b.recover(err) {
		body, err = c.connect(ctx, desc, 0)
	}
	if err != nil {
		return nil, c.explain(err, b.name())
	}
	b.body = body
	return b, nil
}

func (b *blob) name() string {
	return fmt.Sprintf("blob %s of %s", b.desc.Digest, b.client.ref.Origin())
}

// Read reads stored bytes; the end is io.EOF only if all was as promised.
func (b *blob) Read(p []byte) (int, error) {
	for b.done == nil {
		n, err := b.read(p)
		b.offset += int64(n)
		if n > 0 {
			_, _ = b.verifier.Write(p[:n]) // a hash takes everything
		}
		b.done = err
		if n > 0 || err == nil && len(p) == 0 {
			return n, b.done
		}
	}
	return 0, b.done
}

// read reads once. It returns 0 and nil after a cut that was mended.
func (b *blob) read(p []byte) (int, error) {
	left := b.desc.Size - b.offset
	if left == 0 {
		return 0, b.finish()
	}
	if err := b.cut; err != nil {
		b.cut = nil
		return 0, b.mend(err)
	}
	if b.body == nil {
		body, err := b.client.connect(b.ctx, b.desc, b.offset)
		if err != nil {
			return 0, b.mend(err)
		}
		b.body = body
	}
	n, err := b.body.Read(p[:min(int64(len(p)), left)])
	if errors.Is(err, io.EOF) && int64(n) < left {
		err = &cutError{fmt.Errorf("%w after %d of %d bytes", io.ErrUnexpectedEOF, b.offset+int64(n), b.desc.Size)}
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, nil
	}
	if n > 0 {
		b.cut = err // hand out what came first
		return n, nil
	}
	return 0, b.mend(err)
}

// finish checks that nothing follows the last byte, and the digest.
func (b *blob) finish() error {
	var one [1]byte
	for b.body != nil {
		n, err := b.body.Read(one[:])
		if n > 0 {
			return fmt.Errorf("%s: %w: the registry sends more than its %d bytes", b.name(), pipeline.ErrDigest, b.desc.Size)
		}
		if err != nil { // the end, or a cut after all had come
			b.hangUp()
		}
	}
	if !b.verifier.Verified() {
		return fmt.Errorf("%s: %w: the registry sends other bytes", b.name(), pipeline.ErrDigest)
	}
	return io.EOF
}

// mend makes ready for another connection after an error, or returns it.
func (b *blob) mend(err error) error {
	b.hangUp()
	if b.recover(err) {
		return nil
	}
	if stopped := context.Cause(b.ctx); stopped != nil {
		return stopped
	}
	return b.client.explain(err, b.name())
}

// recover waits before another attempt; false says that there is none.
func (b *blob) recover(err error) bool {
	if b.offset-b.restart >= enoughProgress {
		b.failures = 0
	}
	b.restart = b.offset
	if !passes(err) || b.failures >= b.client.cfg.Retries {
		return false
	}
	wait := b.client.wait(b.failures, err)
	b.failures++
	b.client.detail("%s: %v; going on at byte %d in %s", b.name(), err, b.offset, wait)
	return pause(b.ctx, wait) == nil
}

func (b *blob) hangUp() {
	if b.body != nil {
		_ = b.body.Close() // what was read is verified by digest
		b.body = nil
	}
}

// Close gives the connection up.
func (b *blob) Close() error {
	b.hangUp()
	if b.done == nil {
		b.done = errClosed
	}
	return nil
}

// connect asks once for a blob from an offset on.
func (c *client) connect(ctx context.Context, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	q := call{method: http.MethodGet, url: c.url("blobs/" + desc.Digest.String()), scope: c.auth.scope}
	if offset > 0 {
		q.header = http.Header{"Range": {"bytes=" + strconv.FormatInt(offset, 10) + "-"}}
	}
	resp, err := c.once(ctx, q)
	if err != nil {
		return nil, err
	}
	skip, err := position(resp, desc, offset)
	if err == nil && skip > 0 { // the server does not know ranges: read again what we have
		_, err = io.CopyN(io.Discard, resp.Body, skip)
	}
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}

// position says how many bytes of an answer come before the offset.
func position(resp *http.Response, desc ocispec.Descriptor, offset int64) (int64, error) {
	start := int64(0)
	if resp.StatusCode == http.StatusPartialContent {
		unit, numbers, _ := strings.Cut(resp.Header.Get("Content-Range"), " ")
		from, _, _ := strings.Cut(numbers, "-")
		at, err := strconv.ParseInt(from, 10, 64)
		if err != nil || unit != "bytes" || at < 0 || at > offset {
			return 0, fmt.Errorf("%s answers another range than the one asked for", resp.Request.URL.Host)
		}
		start = at
	}
	// Part of a range is an answer too (RFC 9110, 15.3.7); the rest is asked for later.
	part := resp.StatusCode == http.StatusPartialContent && start+resp.ContentLength < desc.Size
	if size := resp.ContentLength; size >= 0 && start+size != desc.Size && !part {
		return 0, fmt.Errorf("%w: the registry sends %d bytes for one of %d", pipeline.ErrDigest, start+size, desc.Size)
	}
	return offset - start, nil
}
