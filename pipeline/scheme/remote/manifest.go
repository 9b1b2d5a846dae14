package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// acceptManifests are the manifests that we understand.
const acceptManifests = ocispec.MediaTypeImageIndex + ", " + pipeline.MediaTypeDockerManifestList + ", " +
	ocispec.MediaTypeImageManifest + ", " + pipeline.MediaTypeDockerManifest

// schema1 begins the types of Docker's first manifests, signed or not.
const schema1 = "application/vnd.docker.distribution.manifest.v1+"

// manifest gets and verifies the manifest of a tag or digest.
func (c *client) manifest(ctx context.Context, version string, limits pipeline.Limits) (ocispec.Descriptor, []byte, error) {
	what := "manifest " + c.ref.Origin() + ":" + version
	byDigest := digest.Digest(version).Validate() == nil
	if byDigest {
		what = "manifest " + c.ref.Origin() + "@" + version
	}
	raw, header, err := c.get(ctx, "manifests/"+version, what, limits, call{
		header: http.Header{"Accept": {acceptManifests}},
	})
	if err != nil {
		return ocispec.Descriptor{}, nil, c.explain(err, what)
	}
	want := digest.Digest(version)
	if !byDigest {
		want = digest.Digest(header.Get("Docker-Content-Digest"))
	}
	if want.Validate() != nil { // the header is optional (distribution-spec, "Pulling manifests")
		want = digest.FromBytes(raw)
	}
	if got := want.Algorithm().FromBytes(raw); got != want {
		return ocispec.Descriptor{}, nil, pipeline.DigestError(what, want, got)
	}
	mediaType, err := manifestType(raw, contentType(header))
	if err != nil {
		return ocispec.Descriptor{}, nil, fmt.Errorf("%s: %w", what, err)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: want, Size: int64(len(raw))}, raw, nil
}

// get reads a whole small answer, which it does again when the answer is cut; the
// call may have an address of its own.
func (c *client) get(ctx context.Context, path, what string, limits pipeline.Limits, q call) ([]byte, http.Header, error) {
	q.method, q.scope = http.MethodGet, c.auth.scope
	if q.url == nil {
		q.url = c.url(path)
	}
	var raw []byte
	var header http.Header
	err := c.again(ctx, func() error {
		resp, err := c.once(ctx, q)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := limits.CheckManifest(what, resp.ContentLength); err != nil {
			return err
		}
		limit := limits.WithDefaults().Manifest
		raw, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
		if err != nil {
			return err
		}
		header = resp.Header
		return limits.CheckManifest(what, int64(len(raw)))
	})
	return raw, header, err
}

// manifestType is what a manifest is: what it says of itself, which its digest
// vouches for; otherwise what the registry says; otherwise what it looks like.
func manifestType(raw []byte, claimed string) (string, error) {
	var m struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		FSLayers      json.RawMessage `json:"fsLayers"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", errors.New("the registry answers no manifest but something that is not JSON")
	}
	switch {
	case m.SchemaVersion == 1, m.FSLayers != nil, strings.HasPrefix(m.MediaType, schema1):
		return "", errors.New("this is a schema 1 manifest, the format of before Docker 1.10, which is not read; push the image again with a newer Docker")
	case m.Manifests != nil && (m.Layers != nil || m.Config != nil):
		// CVE-2021-41190: two programs would read two images out of it.
		return "", errors.New("the manifest is an image and an index at once, which is refused")
	case known(m.MediaType):
		return m.MediaType, nil
	case m.MediaType != "":
		return "", fmt.Errorf("Unknown manifest content type %q", printable(m.MediaType)) //nolint:staticcheck // the text that users know
	case known(claimed) && pipeline.IsIndex(claimed) == (m.Manifests != nil):
		return claimed, nil
	case m.Manifests != nil:
		return ocispec.MediaTypeImageIndex, nil
	case m.Config != nil && m.Layers != nil:
		return ocispec.MediaTypeImageManifest, nil
	}
	return "", fmt.Errorf("Unknown manifest content type %q", printable(claimed)) //nolint:staticcheck // the text that users know
}

// contentType is the media type that an answer claims, without parameters; "" for
// none.
func contentType(header http.Header) string {
	t, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

func known(mediaType string) bool {
	return pipeline.IsIndex(mediaType) || pipeline.IsManifest(mediaType)
}
