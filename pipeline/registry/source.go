package registry

import (
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A Source is one manifest or index of a Backend, and what it reaches.
type Source struct {
	b          Backend
	repository string
	ref        Ref
	names      []string
}

var _ pipeline.Source = (*Source)(nil)

// NewSource returns what a reference leads to in a repository, as a place that
// images are read from. Names are the full names that the root shall have; none
// is fine. An index stands for all images that are there.
func NewSource(b Backend, repository string, ref Ref, names []string) *Source {
	return &Source{b, repository, ref, names}
}

// Open resolves the reference. What is read from the graph is verified.
func (s *Source) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	desc, raw, err := s.b.Manifests.Get(ctx, s.repository, s.ref)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", s.ref, s.repository, found(err))
	}
	if err := q.Limits.CheckManifest("manifest "+desc.Digest.String(), int64(len(raw))); err != nil {
		return nil, err
	}
	if s.ref.Digest != "" {
		desc.Digest = s.ref.Digest // the bytes are read by it again, and verified
	}
	root := pipeline.Root{Desc: ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: int64(len(raw))}, Names: s.names}
	c := &content{b: s.b, repository: s.repository, limits: q.Limits}
	return pipeline.Resolve(ctx, c, []pipeline.Root{root}, q, pipeline.ResolveOptions{Origin: s.b.origin(s.repository)}, nil)
}

// origin is where the layers of a repository are (pipeline.Layer.Origin); "" where
// the backend has no name.
func (b Backend) origin(repository string) string {
	if b.Place == "" {
		return ""
	}
	return b.Place + "/" + repository
}
