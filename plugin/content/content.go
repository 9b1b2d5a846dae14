package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"

	"github.com/occystrap/occystrap/pipeline"
)

// content gives out the blobs of a namespace.
type content struct {
	*store
	limits pipeline.Limits
	files  blobFiles
	// elsewhere opens the registry that the image came from, for layers that
	// are not here; nil where it is not to be asked.
	elsewhere func(context.Context) (pipeline.Content, error)
	lacked    atomic.Bool // a layer was not here

	asking    sync.Once // guards what registry sets
	far       pipeline.Content
	farFailed error
}

var _ pipeline.Content = (*content)(nil)

// Fetch returns a whole blob, within the limit of a manifest.
func (c *content) Fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	info, err := c.blobs().Info(c.in(ctx), desc.Digest)
	if err != nil {
		return nil, c.explain(ctx, "look for "+desc.Digest.String(), err)
	}
	if err := c.limits.CheckManifest(desc.Digest.String(), info.Size); err != nil {
		return nil, err
	}
	rc, err := c.stored(ctx, ocispec.Descriptor{Digest: desc.Digest, Size: info.Size})
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(rc)
	if err != nil && !errors.Is(err, pipeline.ErrDigest) {
		raw = nil
	}
	return raw, errors.Join(err, rc.Close())
}

// Holds says whether a blob is in the namespace, or where else it would come
// from.
func (c *content) Holds(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	_, err := c.blobs().Info(c.in(ctx), desc.Digest)
	if err == nil {
		return true, nil
	}
	if !errdefs.IsNotFound(err) {
		return false, c.explain(ctx, "look for "+desc.Digest.String(), err)
	}
	if !images.IsLayerType(desc.MediaType) {
		return false, nil
	}
	c.lacked.Store(true)
	return c.elsewhere != nil, nil
}

// Open returns a blob's bytes; several may be read at once.
func (c *content) Open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	_, err := c.blobs().Info(c.in(ctx), desc.Digest)
	if errdefs.IsNotFound(err) && c.elsewhere != nil {
		return c.fetched(ctx, desc)
	}
	if err != nil {
		return nil, c.explain(ctx, "read "+desc.Digest.String(), err)
	}
	return c.stored(ctx, desc)
}

// stored reads a blob that the namespace has: from its file where that may be
// read, which costs a third, else through containerd.
func (c *content) stored(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if f := c.files.open(desc); f != nil {
		return pipeline.Verified(f, desc), nil
	}
	conn, ok := c.cli.Conn().(grpc.ClientConnInterface)
	if !ok {
		return nil, fmt.Errorf("read %s in %s: %w", desc.Digest, c, errdefs.ErrNotImplemented)
	}
	ctx, cancel := context.WithCancel(c.in(ctx))
	stream, err := contentapi.NewContentClient(conn).Read(ctx, &contentapi.ReadContentRequest{Digest: desc.Digest.String()})
	if err != nil {
		cancel()
		return nil, c.explain(ctx, "read "+desc.Digest.String(), errgrpc.ToNative(err))
	}
	return pipeline.Verified(&blobStream{c: c, ctx: ctx, cancel: cancel, stream: stream, what: desc.Digest.String()}, desc), nil
}

// blobStream reads a blob in one request; the client's own reader needs one
// for each buffer.
type blobStream struct {
	c      *content
	ctx    context.Context //nolint:containedctx // io.Reader has none
	cancel context.CancelFunc
	stream contentapi.Content_ReadClient
	what   string
	rest   []byte
}

func (b *blobStream) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		m, err := b.stream.Recv()
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, b.c.explain(b.ctx, "read "+b.what, errgrpc.ToNative(err))
		}
		b.rest = m.Data
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *blobStream) Close() error {
	b.cancel()
	return nil
}

// fetched reads a layer from the registry that the image came from.
func (c *content) fetched(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	c.asking.Do(func() { c.far, c.farFailed = c.elsewhere(context.WithoutCancel(ctx)) })
	if c.farFailed != nil {
		return nil, fmt.Errorf("fetch layer %s, which containerd lacks: %w", desc.Digest, c.farFailed)
	}
	rc, err := c.far.Open(ctx, desc)
	if err != nil {
		return nil, fmt.Errorf("fetch layer %s, which containerd lacks: %w", desc.Digest, err)
	}
	return rc, nil
}

// origin is the repository that an image came from, as a name: its own, unless
// containerd noted only others.
func (s *store) origin(ctx context.Context, root pipeline.Root) string {
	var own string
	if len(root.Names) > 0 {
		own = root.Names[0]
	}
	info, err := s.blobs().Info(s.in(ctx), root.Desc.Digest)
	if err != nil {
		return own
	}
	var noted []string
	for key, repositories := range info.Labels {
		host, ok := strings.CutPrefix(key, labels.LabelDistributionSource+".")
		if !ok {
			continue
		}
		for repository := range strings.SplitSeq(repositories, ",") {
			noted = append(noted, host+"/"+repository)
		}
	}
	return chooseOrigin(own, noted)
}

// chooseOrigin chooses among the repositories that were noted: that of the
// image's own name if it is among them, else the first.
func chooseOrigin(own string, noted []string) string {
	for _, n := range noted {
		if strings.HasPrefix(own, n+":") {
			return own
		}
	}
	if len(noted) > 0 {
		return slices.Min(noted)
	}
	return own
}
