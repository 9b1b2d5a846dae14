package registry

import (
	"context"
	"fmt"

	"github.com/occystrap/occystrap/pipeline"
)

// Commit stores a manifest's config, and the manifest by its digest where another
// one lists it. What a name leads to waits for Publish.
func (s *Sink) Commit(ctx context.Context, m pipeline.Manifest) error {
	what := "manifest " + m.Desc.Digest.String()
	if err := m.Desc.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", m.Desc.Digest, err)
	}
	parsed, err := ParseManifest(m.Desc.MediaType, m.Raw, m.Desc.Digest.Algorithm())
	if err != nil {
		return fmt.Errorf("%s is not valid: %w", what, err)
	}
	if got := parsed.Desc.Digest; got != m.Desc.Digest {
		return pipeline.DigestError(what, m.Desc.Digest, got)
	}
	if m.Config != nil && len(parsed.Blobs) > 0 { // the config is the first
		if err := s.blob(ctx, parsed.Blobs[0].Digest, m.Config); err != nil {
			return fmt.Errorf("config of %s: %w", what, err)
		}
	}
	return s.sort(ctx, m, parsed)
}

// sort puts a manifest at once, or keeps it for Publish.
func (s *Sink) sort(ctx context.Context, m pipeline.Manifest, parsed Manifest) error {
	switch {
	case m.Refers != nil:
		r := referrer{m: parsed}
		for _, of := range m.Refers {
			if of.Tag != "" {
				r.tags = append(r.tags, of.Tag)
			}
		}
		if parsed.Subject == nil && len(r.tags) == 0 {
			return s.put(ctx, parsed, nil) // an index that is a referrer lists it
		}
		s.refer = append(s.refer, r)
	case !m.Root:
		return s.put(ctx, parsed, nil)
	case len(s.tags) > 0 && len(s.roots) > 0 && s.roots[0].Desc.Digest != parsed.Desc.Digest:
		return pipeline.Usage("%s can hold one image under a tag and there are several; choose one of the source's", s.repository)
	default:
		s.roots = append(s.roots, parsed)
	}
	return nil
}

// put stores a manifest all of whose parts are there.
func (s *Sink) put(ctx context.Context, m Manifest, tags []string) error {
	missing, err := s.b.lacks(ctx, s.repository, m)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("it names %s, which %s does not have: %w", missing[0], s.repository, pipeline.ErrNotFound)
	}
	if err == nil {
		err = s.b.Manifests.Put(ctx, s.repository, m, tags)
	}
	if err != nil {
		return fmt.Errorf("store manifest %s: %w", m.Desc.Digest, err)
	}
	return nil
}

// Publish makes the referrers known, then the roots: whoever sees an image finds
// its signature.
func (s *Sink) Publish(ctx context.Context) error {
	for _, r := range s.refer {
		if err := s.put(ctx, r.m, r.tags); err != nil {
			return err
		}
	}
	for _, m := range s.roots {
		if err := s.put(ctx, m, s.tags); err != nil {
			return err
		}
	}
	s.refer, s.roots = nil, nil
	return nil
}
