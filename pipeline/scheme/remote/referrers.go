package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/occystrap/occystrap/pipeline"
)

// maxPages bounds a list of referrers that comes in pages; a page has up to 4 MiB
// (distribution-spec, "Listing Referrers").
const maxPages = 100

// Referrers asks the repository what refers to a manifest: by the referrers API
// or, where the registry has none, by the tag that stands for it; and under the
// tags of cosign.
func (t *content) Referrers(ctx context.Context, subject digest.Digest) ([]pipeline.Referrer, error) {
	if err := subject.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", subject, err)
	}
	tags := pipeline.CosignTags(subject)
	found := make([][]pipeline.Referrer, 1+len(tags))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		found[0], err = t.listed(ctx, subject)
		return err
	})
	for i, tag := range tags {
		group.Go(func() (err error) {
			found[i+1], err = t.tagged(ctx, tag)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var out []pipeline.Referrer
	for _, refs := range found {
		out = append(out, refs...)
	}
	return out, nil
}

// tagged is the manifest of a tag of cosign's, if there is one.
func (t *content) tagged(ctx context.Context, tag string) ([]pipeline.Referrer, error) {
	desc, raw, err := t.client.manifest(ctx, tag, t.limits)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	desc.Data = raw
	return []pipeline.Referrer{{Desc: desc, Tag: tag}}, nil
}

// listed is what the referrers API answers, or what the tag lists that stands
// for it.
func (t *content) listed(ctx context.Context, subject digest.Digest) ([]pipeline.Referrer, error) {
	if !t.client.noReferrers.Load() {
		descs, err := t.pages(ctx, subject)
		if !lacksReferrers(err) {
			return referrers(descs), err
		}
		if !ofName(err) {
			t.client.noReferrers.Store(true)
			t.client.detail("%s has no referrers API", t.client.ref.Host)
		}
	}
	tag := pipeline.ReferrersTag(subject)
	desc, raw, err := t.client.manifest(ctx, tag, t.limits)
	if errors.Is(err, pipeline.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !pipeline.IsIndex(desc.MediaType) {
		t.client.detail("the tag %s is no list of referrers", tag)
		return nil, nil
	}
	var idx ocispec.Index
	if err := json.Unmarshal(raw, &idx); err != nil {
		return nil, fmt.Errorf("tag %s: %w", tag, err)
	}
	return referrers(idx.Manifests), t.checkCount(len(idx.Manifests))
}

// lacksReferrers says whether an answer is that of a registry without the API.
// 404 says so by the specification; some do not know the path at all.
func lacksReferrers(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		switch status.Status {
		case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
			return true
		}
	}
	return errors.Is(err, errNoList)
}

// ofName says whether a registry tells by its error code that it knows the API, and not
// what was asked for: a repository that is not there, or a digest of another kind. It says
// nothing of other repositories then.
func ofName(err error) bool {
	var status *StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Code {
	case "NAME_UNKNOWN", "NAME_INVALID", "MANIFEST_UNKNOWN", "DIGEST_INVALID":
		return true
	}
	return false
}

// errNoList: what answers is no list of referrers, but a proxy's page or the
// like.
var errNoList = errors.New("the answer is no list of referrers")

// pages asks the referrers API, page by page.
func (t *content) pages(ctx context.Context, subject digest.Digest) (out []ocispec.Descriptor, err error) {
	what := "referrers of " + t.client.ref.Origin() + "@" + subject.String()
	next := t.client.url("referrers/" + subject.String())
	for range maxPages {
		raw, header, err := t.client.get(ctx, "", what, t.limits, call{url: next, header: http.Header{"Accept": {ocispec.MediaTypeImageIndex}}})
		if err != nil {
			return nil, t.client.explain(err, what)
		}
		kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
		var idx ocispec.Index
		if err != nil || kind != ocispec.MediaTypeImageIndex && kind != "application/json" || json.Unmarshal(raw, &idx) != nil {
			return nil, fmt.Errorf("%s: %w", what, errNoList)
		}
		out = append(out, idx.Manifests...)
		if err := t.checkCount(len(out)); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		if next, err = t.client.nextPage(next, header); next == nil {
			return out, err
		}
	}
	return nil, fmt.Errorf("%s: more than %d pages: %w", what, maxPages, pipeline.ErrLimit)
}

// checkCount bounds how many referrers are listed.
func (t *content) checkCount(n int) error {
	if limit := t.limits.WithDefaults().Manifests; n > limit {
		return fmt.Errorf("%d referrers: %w of %d", n, pipeline.ErrLimit, limit)
	}
	return nil
}

func referrers(descs []ocispec.Descriptor) (out []pipeline.Referrer) {
	for _, d := range descs {
		d.Data = nil // who embeds it there is not who vouches for it
		out = append(out, pipeline.Referrer{Desc: d})
	}
	return out
}

// nextPage is where a list goes on (RFC 8288); nil for nowhere. Only the registry
// itself can say more of it.
func (c *client) nextPage(at *url.URL, header http.Header) (*url.URL, error) {
	for link := range strings.SplitSeq(strings.Join(header.Values("Link"), ", "), "<") { // what is before the first is empty
		target, params, ok := strings.Cut(link, ">")
		if !ok || !strings.Contains(strings.ReplaceAll(params, `"`, ""), "rel=next") {
			continue
		}
		u, err := at.Parse(target)
		if err != nil || !c.home(u) {
			return nil, fmt.Errorf("%s continues its list at another place, which is refused", at.Host)
		}
		u.User, u.Fragment = nil, ""
		return u, nil
	}
	return nil, nil //nolint:nilnil // the last page
}
