package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// A Repository is one repository of a registry. It may be used by many goroutines
// at once.
type Repository struct {
	shared *Client
	ref    Reference
	err    error // of a name that is none
}

// Repository names a repository. It asks nobody. A name that is none is the error of
// everything that is asked of it, and never part of a request.
func (c *Client) Repository(host, repository string) *Repository {
	ref, err := ParseReference(canonicalHost(host), repository)
	if err == nil && (ref.Digest != "" || ref.Tag != defaultTag || ref.Repository != repository && "library/"+repository != ref.Repository) {
		err = pipeline.Usage("%q is not a repository name", repository)
	}
	return &Repository{shared: c, ref: ref, err: err}
}

// Name is HOST/REPOSITORY.
func (r *Repository) Name() string { return r.ref.Origin() }

// reader is the client that reads.
func (r *Repository) reader() (*client, error) {
	if r.err != nil {
		return nil, r.err
	}
	return r.shared.end(r.ref, false), nil
}

// versionOf checks how a manifest is named, since it becomes part of an address.
func versionOf(ref registry.Ref) (string, error) {
	if ref.Digest != "" {
		return ref.Digest.String(), ref.Digest.Validate()
	}
	if !registry.ValidTag(ref.Tag) {
		return "", pipeline.Usage("%q is not a tag", printable(ref.Tag))
	}
	return ref.Tag, nil
}

// Manifest gets a manifest or index by tag or digest, as it is kept there. It was
// compared with its digest: the one asked for, or the one that the registry tells
// of a tag.
func (r *Repository) Manifest(ctx context.Context, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	c, err := r.reader()
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	v, err := versionOf(ref)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	return c.manifest(ctx, v, pipeline.Limits{})
}

// Stat describes a manifest by the headers of the answer alone, which count for
// nothing at Docker Hub. A registry that tells too little, or refuses HEAD, is asked
// for the manifest itself.
func (r *Repository) Stat(ctx context.Context, ref registry.Ref) (ocispec.Descriptor, error) {
	c, err := r.reader()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	v, err := versionOf(ref)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	what := "manifest " + c.ref.Origin() + ":" + v
	resp, err := c.do(ctx, call{
		method: http.MethodHead, url: c.url("manifests/" + v), header: http.Header{"Accept": {acceptManifests}}, scope: c.auth.scope,
	})
	var status *StatusError
	if errors.As(err, &status) && (status.Status == http.StatusMethodNotAllowed || status.Status == http.StatusNotImplemented) {
		desc, _, err := r.Manifest(ctx, ref)
		return desc, err
	}
	if err != nil {
		return ocispec.Descriptor{}, c.explain(err, what)
	}
	discard(resp)
	desc := described(resp)
	if ref.Digest != "" && desc.Digest == "" {
		desc.Digest = ref.Digest
	}
	if desc.Digest == "" || desc.Size < 0 || !known(desc.MediaType) {
		desc, _, err := r.Manifest(ctx, ref)
		return desc, err
	}
	if ref.Digest != "" && desc.Digest != ref.Digest {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %w", what, pipeline.DigestError(what, ref.Digest, desc.Digest))
	}
	return desc, nil
}

// described is what the headers of an answer say; what they do not is zero, and -1.
func described(resp *http.Response) ocispec.Descriptor {
	desc := ocispec.Descriptor{MediaType: contentType(resp.Header), Size: -1}
	if n, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err == nil && n > 0 {
		desc.Size = n
	}
	if d, err := digest.Parse(resp.Header.Get("Docker-Content-Digest")); err == nil {
		desc.Digest = d
	}
	return desc
}

// Source is one image or index of the repository, for pipeline.Run.
func (r *Repository) Source(ref registry.Ref) pipeline.Source {
	c, err := r.reader()
	if err == nil {
		_, err = versionOf(ref)
	}
	if err != nil {
		return nowhere{err: err}
	}
	return &Source{client: c.at(ref.Tag, ref.Digest)}
}

// Sink writes one image or index to the repository, for pipeline.Run. Publish puts it
// under all of the tags; without tags it can be had by its digest alone.
func (r *Repository) Sink(tags []string) pipeline.Sink {
	err := r.err
	for _, tag := range tags {
		if !registry.ValidTag(tag) {
			err = pipeline.Usage("%q is not a tag", printable(tag))
		}
	}
	if err != nil {
		return nowhere{err: err}
	}
	first := ""
	if len(tags) > 0 {
		first = tags[0]
	}
	c := r.shared.end(r.ref, true).at(first, "")
	s := newSink(c, c.cfg)
	s.names = tags
	return s
}

// at is the same client for one version of its repository.
func (c *client) at(tag string, d digest.Digest) *client {
	v := *c
	v.ref.Tag, v.ref.Digest = tag, d
	return &v
}
