package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A content is a repository as a place that holds blobs.
type content struct {
	client *client
	limits pipeline.Limits
}

var _ pipeline.Referring = (*content)(nil)

// Fetch gets a manifest or config, verified. A descriptor that carries its
// content itself (image-spec, descriptor.md: data) costs no request.
func (t *content) Fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	what := fmt.Sprintf("%s of %s", printable(desc.Digest.String()), t.client.ref.Origin())
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("blob %s: %w", what, err)
	}
	if err := t.limits.CheckManifest(what, desc.Size); err != nil {
		return nil, err
	}
	if len(desc.Data) > 0 && int64(len(desc.Data)) == desc.Size && desc.Digest.Algorithm().FromBytes(desc.Data) == desc.Digest {
		return desc.Data, nil
	}
	raw, err := t.fetch(ctx, desc, what)
	if err != nil {
		return raw, err
	}
	if int64(len(raw)) != desc.Size {
		return raw, fmt.Errorf("%s: %w: it has %d bytes, not %d", what, pipeline.ErrDigest, len(raw), desc.Size)
	}
	return raw, nil
}

func (t *content) fetch(ctx context.Context, desc ocispec.Descriptor, what string) ([]byte, error) {
	if known(desc.MediaType) {
		_, raw, err := t.client.manifest(ctx, desc.Digest.String(), t.limits)
		return raw, err
	}
	raw, _, err := t.client.get(ctx, "blobs/"+desc.Digest.String(), what, t.limits, call{})
	if err != nil {
		return nil, t.client.explain(err, "blob "+what)
	}
	if got := desc.Digest.Algorithm().FromBytes(raw); got != desc.Digest {
		return raw, pipeline.DigestError("blob "+what, desc.Digest, got)
	}
	return raw, nil
}

// Holds asks for manifests only: a registry that lists a blob has it, and to
// ask for each would cost a request per layer.
func (t *content) Holds(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	if !known(desc.MediaType) {
		return true, nil
	}
	resp, err := t.client.do(ctx, call{
		method: http.MethodHead, url: t.client.url("manifests/" + desc.Digest.String()),
		header: http.Header{"Accept": {acceptManifests}}, scope: t.client.auth.scope,
	})
	if errors.Is(err, pipeline.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, t.client.explain(err, "manifest "+desc.Digest.String())
	}
	discard(resp)
	return true, nil
}

// Open opens a layer's blob. The caller closes it.
func (t *content) Open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	return t.client.openBlob(ctx, desc)
}
