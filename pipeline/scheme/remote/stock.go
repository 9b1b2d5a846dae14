package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// stock lists what a repository has: the layers of all its tags, whatever tag the
// URI names.
type stock struct{ client *client }

var (
	_ pipeline.Inventor = (*stock)(nil)
	_ pipeline.Inventor = (*Sink)(nil)
)

// maxTags bounds how many tags of a repository are looked at: each costs a few
// requests.
const maxTags = 10_000

// Holdings are the layers of all images in the repository.
func (s *stock) Holdings(ctx context.Context, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	return func(yield func(pipeline.Holding, error) bool) {
		defer s.client.transport.close()
		s.client.holdings(ctx, limits)(yield)
	}
}

// Holdings are the layers that tagged images of the repository have before the
// run.
func (s *Sink) Holdings(ctx context.Context, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	return s.client.holdings(ctx, limits)
}

func (c *client) holdings(ctx context.Context, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	return func(yield func(pipeline.Holding, error) bool) {
		tags, err := c.tags(ctx, limits)
		if err != nil {
			yield(pipeline.Holding{}, err)
			return
		}
		seen := map[digest.Digest]bool{}
		for _, tag := range tags {
			for h, err := range pipeline.HoldingsOf(ctx, &version{c, tag, seen}, limits) {
				if errors.Is(err, pipeline.ErrNotFound) {
					break // it went meanwhile, or was seen under another tag
				}
				if !yield(h, err) || err != nil {
					return
				}
			}
		}
	}
}

// tags are all names in the repository. That there is no such repository is an
// error.
func (c *client) tags(ctx context.Context, limits pipeline.Limits) (tags []string, err error) {
	what := "tags of " + c.ref.Origin()
	next := c.url("tags/list")
	for range maxPages {
		page, after, err := c.tagPage(ctx, limits, next)
		if err != nil {
			return nil, err
		}
		if tags = append(tags, page...); len(tags) > maxTags {
			return nil, fmt.Errorf("%s: more than %d: %w", what, maxTags, pipeline.ErrLimit)
		}
		if next = after; next == nil {
			return tags, nil
		}
	}
	return nil, fmt.Errorf("%s: more than %d pages: %w", what, maxPages, pipeline.ErrLimit)
}

// tagPage reads a page of the list of tags, and where the next one is; nil: nowhere.
func (c *client) tagPage(ctx context.Context, limits pipeline.Limits, at *url.URL) ([]string, *url.URL, error) {
	what := "tags of " + c.ref.Origin()
	raw, header, err := c.get(ctx, "", what, limits, call{url: at})
	if err != nil {
		return nil, nil, c.explain(err, what)
	}
	var page struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", what, err)
	}
	next, err := c.nextPage(c.adjust(at), header) // HTTPS may have turned out to be HTTP
	return page.Tags, next, err
}

// A version is one tag of a repository, unless its image was seen before.
type version struct {
	client *client
	tag    string
	seen   map[digest.Digest]bool
}

// Open reads the manifests of the tag.
func (v *version) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	desc, raw, err := v.client.manifest(ctx, v.tag, q.Limits)
	if err != nil {
		return nil, err
	}
	if v.seen[desc.Digest] {
		return nil, pipeline.ErrNotFound
	}
	v.seen[desc.Digest] = true
	known := &first{content: &content{client: v.client, limits: q.Limits}, desc: desc, raw: raw}
	return pipeline.Resolve(ctx, known, []pipeline.Root{{Desc: desc}}, q, pipeline.ResolveOptions{}, nil)
}
