package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// smallLayer is what an upload keeps in memory before it opens a stream: a layer
// that ends within it goes up in one request, which can be made again.
const smallLayer = 256 << 10

// An upload takes the bytes of one layer:
//
//	Write ─▶ pipe ─▶ PATCH (streamed, once) ─▶ Commit: PUT ?digest=
//
// What fails in the stream and may pass is an error with Temporary() true, after
// which the layer can be written to another upload.
type upload struct {
	ctx     context.Context //nolint:containedctx // io.Writer has no context; this one is Layer's
	sink    *Sink
	session *url.URL // where bytes go; nil: no upload is open
	head    []byte   // written, and not yet in the stream
	size    int64
	stream  *stream // nil until head is full
	ended   bool
}

var _ pipeline.LayerWriter = (*upload)(nil)

func newUpload(ctx context.Context, s *Sink, session *url.URL) *upload {
	return &upload{ctx: ctx, sink: s, session: session}
}

// Write sends stored bytes.
func (u *upload) Write(p []byte) (int, error) {
	if u.ended {
		return 0, errClosed
	}
	if u.stream == nil && len(u.head)+len(p) <= smallLayer {
		u.head = append(u.head, p...)
		u.size += int64(len(p))
		return len(p), nil
	}
	if err := u.begin(); err != nil {
		return 0, err
	}
	n, err := u.stream.write(p)
	u.size += int64(n)
	return n, temporary(err)
}

// begin opens the upload and its stream. The request that opens it also sees to
// it that the token is good when the stream starts.
func (u *upload) begin() error {
	if u.stream != nil {
		return nil
	}
	c := u.sink.client
	if u.session == nil {
		err := c.again(u.ctx, func() (err error) {
			u.session, err = c.open(u.ctx)
			return err
		})
		if err != nil {
			return c.explain(err, "open an upload to "+c.ref.Origin())
		}
	}
	s, err := c.startStream(u.ctx, u.session)
	if err != nil {
		return temporary(err)
	}
	u.stream = s
	head := u.head
	u.head = nil
	_, err = s.write(head)
	return temporary(err)
}

// Commit ends the layer and has the registry check it against its digest.
func (u *upload) Commit(ctx context.Context, blob ocispec.Descriptor, _ digest.Digest) error {
	what := "upload blob " + blob.Digest.String()
	if u.ended {
		return fmt.Errorf("%s: %w", what, errClosed)
	}
	if u.size != blob.Size {
		return fmt.Errorf("%s: %w: %d bytes were written, not %d", what, pipeline.ErrDigest, u.size, blob.Size)
	}
	if u.stream == nil {
		u.ended = true
		return u.sink.putBlob(ctx, blob.Digest, u.head, u.session)
	}
	resp, err := u.stream.finish()
	if err != nil {
		return temporary(u.sink.client.explain(err, what)) // Close gives the session up
	}
	next, err := u.sink.client.patched(resp, u.size, u.session)
	discard(resp)
	if err != nil {
		return temporary(fmt.Errorf("%s: %w", what, err))
	}
	u.session = next
	if err := u.seal(ctx, blob.Digest); err != nil {
		return temporary(u.sink.client.explain(err, what))
	}
	u.ended = true
	u.sink.hold(blob.Digest)
	return nil
}

// patched is where an upload goes on after its stream. A registry that counted
// other bytes than we sent has lost some.
func (c *client) patched(resp *http.Response, size int64, session *url.URL) (*url.URL, error) {
	_, end, ok := strings.Cut(resp.Header.Get("Range"), "-")
	if ok && end != fmt.Sprint(size-1) {
		return nil, &cutError{fmt.Errorf("%s took %s bytes of %d", resp.Request.URL.Host, printable(end), size)}
	}
	if resp.Header.Get("Location") == "" {
		return session, nil
	}
	return c.location(resp)
}

// seal gives the uploaded bytes their digest. When the answer is lost the
// registry may have them all the same, and then refuses a second request in ways
// of its own: what counts is whether it has the blob.
func (u *upload) seal(ctx context.Context, d digest.Digest) error {
	c := u.sink.client
	resp, err := c.do(ctx, call{method: http.MethodPut, url: withDigest(u.session, d), patient: true, scope: c.auth.scope})
	if err == nil {
		defer discard(resp)
		return confirm(resp, d)
	}
	if ctx.Err() != nil {
		return err
	}
	if held, lookErr := u.sink.holds(ctx, d); lookErr == nil && held {
		return nil
	}
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return &cutError{err} // the upload is gone; another can be made
	}
	return err
}

// Close gives an upload up that was not committed.
func (u *upload) Close() error {
	if u.ended {
		return nil
	}
	u.ended = true
	if u.stream != nil {
		u.stream.abort()
	}
	if u.session != nil {
		u.sink.client.abandon(u.ctx, u.session)
	}
	return nil
}
