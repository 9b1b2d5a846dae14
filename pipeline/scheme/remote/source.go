package remote

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A Source is one image or index of a registry.
type Source struct {
	client *client
	query  map[string]string
}

var _ pipeline.Source = (*Source)(nil)

// Open resolves the reference. Without --platform an index stands for the image
// of this machine's platform. A layer opened from the graph resumes when its
// connection is cut, and ends in an error if its bytes are not as promised.
func (s *Source) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	var err error
	if q.Platforms, err = platformOptions(q.Platforms, s.query); err != nil {
		return nil, err
	}
	c := s.client
	desc, raw, err := c.manifest(ctx, c.ref.version(), q.Limits)
	if err != nil {
		c.transport.close()
		return nil, err
	}
	store := &content{client: c, limits: q.Limits}
	known := &first{content: store, desc: desc, raw: raw}
	roots := []pipeline.Root{{Desc: desc, Names: []string{c.ref.String()}}}
	g, err := pipeline.Resolve(ctx, known, roots, q, pipeline.ResolveOptions{OneImage: true, Origin: c.ref.Origin()}, func() error {
		c.transport.close()
		return nil
	})
	if err != nil {
		c.transport.close()
	}
	return g, err
}

// A first is a content whose root manifest is at hand already.
type first struct {
	*content
	desc ocispec.Descriptor
	raw  []byte
}

func (f *first) Fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Digest == f.desc.Digest {
		return f.raw, nil
	}
	return f.content.Fetch(ctx, desc)
}

func (f *first) Holds(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	if desc.Digest == f.desc.Digest {
		return true, nil
	}
	return f.content.Holds(ctx, desc)
}
