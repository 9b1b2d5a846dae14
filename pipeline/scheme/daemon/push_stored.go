package daemon

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// stored reads images of the containerd store, whose blobs are known by the
// manifests: a push that is told that we have all blobs brings the manifests, and
// one that lacks a single blob brings that. So what nobody opens never moves, a
// layer can be read again, and nothing has to be put aside.
type stored struct {
	p     *pushing
	docs  map[digest.Digest][]byte // manifests and configs
	of    map[digest.Digest]errand // which push brings a blob
	gone  map[digest.Digest]bool   // manifests whose blobs are not all there
	roots []pipeline.Root

	mu   sync.Mutex
	busy map[*courier]bool
}

// An errand is a push that the daemon is asked for.
type errand struct {
	name     string
	platform *ocispec.Platform
}

var _ pipeline.Content = (*stored)(nil)

// stored learns the manifests of the images, and resolves them.
func (p *pushing) stored(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	s := &stored{
		p: p, docs: map[digest.Digest][]byte{}, of: map[digest.Digest]errand{},
		gone: map[digest.Digest]bool{}, busy: map[*courier]bool{},
	}
	for _, image := range p.images {
		if err := s.root(ctx, image, q); err != nil {
			return nil, unlessEnded(ctx, err)
		}
	}
	return pipeline.Resolve(ctx, s, s.roots, q, pipeline.ResolveOptions{}, p.Close)
}

// root finds what an image's name points at.
func (s *stored) root(ctx context.Context, i pushed, q pipeline.Query) error {
	listed, err := s.listed(ctx, i)
	if err != nil {
		return err
	}
	came, err := s.learn(ctx, errand{name: i.name})
	if err != nil && len(listed) == 0 {
		return err
	}
	whole := i.found.Descriptor == nil || err == nil && came.Digest == i.found.Descriptor.Digest
	if whole {
		s.roots = append(s.roots, pipeline.Root{Desc: came, Names: i.names})
		return nil
	}
	return s.part(ctx, i, listed, q)
}

// listed are the images of an index, as far as the daemon says; it marks those
// that are not all there.
func (s *stored) listed(ctx context.Context, i pushed) ([]image.ManifestSummary, error) {
	if i.found.Descriptor == nil || !pipeline.IsIndex(i.found.Descriptor.MediaType) || !knows(s.p.e.cli, apiManifests) {
		return nil, nil
	}
	found, err := s.p.e.cli.ImageInspect(ctx, i.ref.Ask, client.ImageInspectWithManifests(true))
	if err != nil {
		return nil, explain(ctx, s.p.e.cli, "inspect image "+i.ref.Ask, err)
	}
	for _, m := range found.Manifests {
		if !m.Available {
			s.gone[m.Descriptor.Digest] = true
		}
	}
	return found.Manifests, nil
}

// part is for an index of which the daemon does not hold all: Docker pushes no
// such index, but one image of it at a time.
func (s *stored) part(ctx context.Context, i pushed, listed []image.ManifestSummary, q pipeline.Query) error {
	var roots []pipeline.Root
	var names []string
	for _, m := range listed {
		if m.Kind != image.ManifestKindImage || m.ImageData == nil || !m.Available {
			continue
		}
		p := m.ImageData.Platform
		if _, err := s.learn(ctx, errand{name: i.name, platform: &p}); err != nil {
			return err
		}
		desc := m.Descriptor
		desc.Platform = &p
		roots = append(roots, pipeline.Root{Desc: desc, Names: i.names})
		names = append(names, platforms.Format(p))
	}
	want := q.Platforms.Want
	if len(want) == 0 && q.Capacity.Platform != nil {
		want = []ocispec.Platform{*q.Capacity.Platform}
	}
	switch q.Missing { //nolint:exhaustive // to prune is what is left
	case pipeline.MissingFail:
		return fmt.Errorf("the daemon holds only %s of %s: %w (leave the rest out with --missing=prune, or fetch it with --missing=fetch)", strings.Join(names, ", "), i.ref.Ask, pipeline.ErrNotFound)
	case pipeline.MissingFetch:
		return s.fetched(ctx, i, q)
	}
	if !q.Platforms.All && len(want) > 0 {
		matcher := platforms.Ordered(want...)
		roots = slices.DeleteFunc(roots, func(r pipeline.Root) bool { return !matcher.Match(platforms.Normalize(*r.Desc.Platform)) })
	}
	switch len(roots) {
	case 0:
		return fmt.Errorf("the daemon holds no image of %s for %s: %w; it has %s", i.ref.Ask, pipeline.Platforms{Want: want}, pipeline.ErrNotFound, strings.Join(names, ", "))
	case 1:
		s.p.events.Warn(fmt.Sprintf("%s: the daemon holds one image of its index, for %s; the others are left out", i.ref.Ask, platforms.Format(*roots[0].Desc.Platform)))
		s.roots = append(s.roots, roots[0])
		return nil
	}
	return fmt.Errorf("the daemon holds some of %s (%s), and pushes no index of which it does not hold all: choose one with --platform, fetch the others with --missing=fetch, or use docker:// with ?lane=save", i.ref.Ask, strings.Join(names, ", "))
}

// fetched takes the index, and what the daemon lacks of it, from the registry
// that the name tells.
func (s *stored) fetched(ctx context.Context, i pushed, q pipeline.Query) error {
	if q.Elsewhere == nil || len(i.names) == 0 {
		return fmt.Errorf("%s has no name that tells its registry: %w", i.ref.Ask, pipeline.ErrNotFound)
	}
	c, err := q.Elsewhere(ctx, i.names[0])
	if err != nil {
		return err
	}
	desc := *i.found.Descriptor
	raw, err := c.Fetch(ctx, desc)
	if err != nil {
		return fmt.Errorf("fetch the index of %s: %w", i.ref.Ask, err)
	}
	s.docs[desc.Digest] = raw
	s.roots = append(s.roots, pipeline.Root{Desc: desc, Names: i.names})
	return nil
}

// learn has the manifests of an image pushed, and then all configs that they
// name. It returns what the name points at.
func (s *stored) learn(ctx context.Context, e errand) (ocispec.Descriptor, error) {
	everything := func(context.Context, digest.Digest) (int64, bool) { return 0, true }
	box, err := s.p.take(ctx, e.name, e.platform, registry.InboxOptions{TempDir: s.p.target.TempDir, Held: everything})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer box.Close()
	configs := map[digest.Digest]bool{}
	var root ocispec.Descriptor
	for _, m := range box.Manifests() {
		root = m.Desc // the last one is what the name points at
		s.docs[m.Desc.Digest] = m.Raw
		for n, d := range m.Blobs {
			if s.of[d.Digest] = e; n == 0 && s.docs[d.Digest] == nil {
				configs[d.Digest] = true
			}
		}
	}
	return root, s.configs(ctx, e, configs)
}

// configs has configs pushed, in one push.
func (s *stored) configs(ctx context.Context, e errand, want map[digest.Digest]bool) error {
	if len(want) == 0 {
		return nil
	}
	box, err := s.p.take(ctx, e.name, e.platform, registry.InboxOptions{
		TempDir: s.p.target.TempDir,
		Held:    func(_ context.Context, d digest.Digest) (int64, bool) { return 0, !want[d] },
	})
	if err != nil {
		return err
	}
	defer box.Close()
	for d := range want {
		raw, err := box.Blob(ctx, d, s.p.limits.Manifest)
		if err != nil {
			return fmt.Errorf("config %s: %w", d, err)
		}
		s.docs[d] = raw
	}
	return nil
}

// Fetch returns a manifest or config that was pushed; another blob is pushed
// now.
func (s *stored) Fetch(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if raw := s.docs[desc.Digest]; raw != nil && !s.gone[desc.Digest] {
		return raw, nil
	}
	if _, there := s.of[desc.Digest]; !there {
		return nil, fmt.Errorf("%s: %w", desc.Digest, pipeline.ErrNotFound)
	}
	rc, err := s.Open(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(io.LimitReader(rc, desc.Size+1)) // the caller compares it with desc
}

// Holds says whether a manifest lists the blob.
func (s *stored) Holds(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	_, there := s.of[desc.Digest]
	return there || s.docs[desc.Digest] != nil, nil
}

// Open has the blob pushed, and gives it as it comes.
func (s *stored) Open(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	e, there := s.of[desc.Digest]
	if !there {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, pipeline.ErrNotFound)
	}
	return s.run(ctx, e, desc), nil
}
