package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// OpenBlob reads a blob from an offset on, in one request. Size is that of the whole
// blob, as the registry tells; -1 if it does not. A transfer that is cut goes on where
// it was, and ends in an error if the registry sends more or less than it told; whether
// the bytes are those of the digest is for the caller to check. The context is that of
// the whole transfer. The caller closes the reader.
func (r *Repository) OpenBlob(ctx context.Context, d digest.Digest, offset int64) (io.ReadCloser, int64, error) {
	c, err := r.reader()
	if err != nil {
		return nil, 0, err
	}
	return c.openFrom(ctx, d, offset)
}

// StatBlob asks how many bytes a blob has.
func (r *Repository) StatBlob(ctx context.Context, d digest.Digest) (int64, error) {
	c, err := r.reader()
	if err != nil {
		return 0, err
	}
	what := fmt.Sprintf("blob %q of %s", printable(d.String()), c.ref.Origin())
	if err := d.Validate(); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	resp, err := c.do(ctx, call{method: http.MethodHead, url: c.url("blobs/" + d.String()), scope: c.auth.scope})
	if err != nil {
		return 0, c.explain(err, what)
	}
	discard(resp)
	if n, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		return n, nil
	}
	body, size, err := r.OpenBlob(ctx, d, 0) // the answer to GET may tell what that to HEAD did not
	if err != nil {
		return 0, err
	}
	_ = body.Close() // nothing of it was wanted
	if size < 0 {
		return 0, fmt.Errorf("%s: the registry does not tell its size", what)
	}
	return size, nil
}

// Tags are at most n tags after last, in the order of their bytes.
func (r *Repository) Tags(ctx context.Context, last string, n int) ([]string, error) {
	c, err := r.reader()
	if err != nil {
		return nil, err
	}
	next := c.url("tags/list")
	next.RawQuery = url.Values{"n": {strconv.Itoa(n)}, "last": {last}}.Encode()
	if last == "" {
		next.RawQuery = "n=" + strconv.Itoa(n)
	}
	var tags []string
	for range maxPages {
		page, after, err := c.tagPage(ctx, pipeline.Limits{}, next)
		if err != nil {
			return nil, err
		}
		for _, tag := range page {
			if tag > last && registry.ValidTag(tag) {
				tags = append(tags, tag)
			}
		}
		next = after
		if next == nil || len(tags) >= n {
			break
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	return tags[:min(n, len(tags))], nil
}

// Backend is the repository of the name that each call gets, below a host of the
// client's and a prefix ("" or "team"), for reading: what writes is
// errors.ErrUnsupported. Blobs are not verified, manifests are. What Blobs.Open returns
// has a method Size() int64, which saves who opens a blob the request of Stat: the size
// of the whole blob in bytes, -1 if the registry does not tell.
func (c *Client) Backend(host, prefix string) registry.Backend {
	b := far{c, host, prefix}
	return registry.Backend{Blobs: farBlobs{b}, Manifests: farManifests{b}, Tags: farTags{b}, Referrers: farReferrers{b}}
}

// Backend is Client.Backend for this repository alone, whatever name a call gets.
func (r *Repository) Backend() registry.Backend {
	b := one{r}
	return registry.Backend{Blobs: farBlobs{b}, Manifests: farManifests{b}, Tags: farTags{b}, Referrers: farReferrers{b}}
}

// A finder leads from the name of a call to the repository.
type finder interface {
	repository(name string) *Repository
}

type far struct {
	client       *Client
	host, prefix string
}

func (f far) repository(name string) *Repository {
	if f.prefix != "" {
		name = f.prefix + "/" + name
	}
	return f.client.Repository(f.host, name)
}

type one struct{ r *Repository }

func (o one) repository(string) *Repository { return o.r }

type farBlobs struct{ finder }

func (f farBlobs) Stat(ctx context.Context, repository string, d digest.Digest) (int64, error) {
	return f.repository(repository).StatBlob(ctx, d)
}

func (f farBlobs) Open(ctx context.Context, repository string, d digest.Digest, offset int64) (io.ReadCloser, error) {
	body, _, err := f.repository(repository).OpenBlob(ctx, d, offset)
	return body, err
}

func (farBlobs) Mount(context.Context, string, string, digest.Digest) error {
	return errors.ErrUnsupported
}

func (farBlobs) Delete(context.Context, string, digest.Digest) error { return errors.ErrUnsupported }

type farManifests struct{ finder }

func (f farManifests) Stat(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, error) {
	return f.repository(repository).Stat(ctx, ref)
}

func (f farManifests) Get(ctx context.Context, repository string, ref registry.Ref) (ocispec.Descriptor, []byte, error) {
	return f.repository(repository).Manifest(ctx, ref)
}

func (farManifests) Put(context.Context, string, registry.Manifest, []string) error {
	return errors.ErrUnsupported
}

func (farManifests) Delete(context.Context, string, digest.Digest) error {
	return errors.ErrUnsupported
}

type farTags struct{ finder }

func (f farTags) List(ctx context.Context, repository, last string, n int) ([]string, error) {
	return f.repository(repository).Tags(ctx, last, n)
}

func (farTags) Delete(context.Context, string, string) error { return errors.ErrUnsupported }

type farReferrers struct{ finder }

func (f farReferrers) List(ctx context.Context, repository string, subject digest.Digest) ([]ocispec.Descriptor, error) {
	return f.repository(repository).Referrers(ctx, subject)
}

// Referrers are the manifests with that subject: by the referrers API, or by the tag
// that stands for it.
func (r *Repository) Referrers(ctx context.Context, subject digest.Digest) ([]ocispec.Descriptor, error) {
	c, err := r.reader()
	if err != nil {
		return nil, err
	}
	if err := subject.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", printable(subject.String()), err)
	}
	found, err := (&content{client: c}).listed(ctx, subject)
	if err != nil {
		return nil, err
	}
	out := make([]ocispec.Descriptor, len(found))
	for i, f := range found {
		out[i] = f.Desc
	}
	return out, nil
}
