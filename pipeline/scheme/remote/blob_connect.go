package remote

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// unknownSize is that of a blob of which the registry has told none yet.
const unknownSize = -1

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
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// openFrom reads a blob from an offset on, whose size the registry tells: it is
// unknownSize if it does not. The digest is not checked.
func (c *client) openFrom(ctx context.Context, d digest.Digest, offset int64) (io.ReadCloser, int64, error) {
	b := &blob{ctx: ctx, client: c, desc: ocispec.Descriptor{Digest: d, Size: unknownSize}, offset: offset, restart: offset}
	if err := d.Validate(); err != nil {
		return nil, 0, fmt.Errorf("blob %q: %w", printable(d.String()), err)
	}
	if offset < 0 {
		return nil, 0, fmt.Errorf("%s: there is no byte %d", b.name(), offset)
	}
	if err := b.open(); err != nil {
		return nil, 0, err
	}
	return b, b.told, nil
}

// open connects for the first time.
func (b *blob) open() error {
	err := b.connect()
	for err != nil && b.recover(err) {
		err = b.connect()
	}
	if err != nil {
		return b.client.explain(err, b.name())
	}
	b.told = b.desc.Size
	return nil
}

// connect asks once for the blob from the offset on.
func (b *blob) connect() error {
	c := b.client
	q := call{method: http.MethodGet, url: c.url("blobs/" + b.desc.Digest.String()), scope: c.auth.scope}
	if b.offset > 0 {
		q.header = http.Header{"Range": {"bytes=" + strconv.FormatInt(b.offset, 10) + "-"}}
	}
	resp, err := c.once(b.ctx, q)
	if err != nil {
		return err
	}
	at, err := position(resp)
	if err == nil {
		err = at.check(resp.Request.URL.Host, b.desc.Size, b.offset)
	}
	if skip := b.offset - at.start; err == nil && skip > 0 { // the server does not know ranges: read again what we have
		_, err = io.CopyN(io.Discard, resp.Body, skip)
	}
	if err != nil {
		_ = resp.Body.Close()
		return err
	}
	if b.desc.Size == unknownSize {
		b.desc.Size = at.total
	}
	b.body = resp.Body
	return nil
}

// left is how many bytes are still to come.
func (b *blob) left() int64 {
	if b.desc.Size == unknownSize {
		return math.MaxInt64
	}
	return b.desc.Size - b.offset
}

// A place is the bytes that an answer has; what it does not tell is -1.
type place struct{ start, end, total int64 }

// position reads where an answer's bytes are in the blob.
func position(resp *http.Response) (place, error) {
	if resp.StatusCode != http.StatusPartialContent {
		return place{0, resp.ContentLength, resp.ContentLength}, nil
	}
	bad := fmt.Errorf("%s answers another range than the one asked for", resp.Request.URL.Host)
	unit, rest, _ := strings.Cut(resp.Header.Get("Content-Range"), " ")
	numbers, size, told := strings.Cut(rest, "/")
	from, to, _ := strings.Cut(numbers, "-")
	start, err := strconv.ParseInt(from, 10, 64)
	if err != nil || unit != "bytes" || start < 0 {
		return place{}, bad
	}
	p := place{start: start, end: -1, total: -1}
	if last, err := strconv.ParseInt(to, 10, 64); err == nil {
		if last < start || last == math.MaxInt64 {
			return place{}, bad
		}
		p.end = last + 1
	}
	if length := resp.ContentLength; length >= 0 {
		if p.end >= 0 && p.end-start != length {
			return place{}, fmt.Errorf("%w: %s tells of a range of %d bytes and sends %d", pipeline.ErrDigest, resp.Request.URL.Host, p.end-start, length)
		}
		p.end = start + length
	}
	if n, err := strconv.ParseInt(size, 10, 64); told && err == nil {
		if n < p.end {
			return place{}, bad
		}
		p.total = n
	}
	return p, nil
}

// check compares an answer with what is known of the blob.
func (p place) check(host string, size, offset int64) error {
	if p.start > offset {
		return fmt.Errorf("%s answers another range than the one asked for", host)
	}
	told := p.total
	if told < 0 && p.end > size {
		told = p.end
	}
	switch {
	case size != unknownSize && told >= 0 && told != size:
		return fmt.Errorf("%w: the registry sends %d bytes for one of %d", pipeline.ErrDigest, told, size)
	case size == unknownSize && p.total >= 0 && p.total < offset:
		return &StatusError{Status: http.StatusRequestedRangeNotSatisfiable, host: host, Message: "the blob is shorter"}
	}
	return nil // part of a range is an answer too (RFC 9110, 15.3.7); the rest is asked for later
}
