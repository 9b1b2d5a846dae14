package tarball

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/imagename"
	"github.com/occystrap/occystrap/pipeline/internal/ocilayout"
)

// parsed is what the sink needs to know of a manifest or index.
type parsed struct {
	pipeline.Manifest
	config    ocispec.Descriptor
	layers    []ocispec.Descriptor
	manifests []ocispec.Descriptor
}

func parse(m pipeline.Manifest) (parsed, error) {
	var fields struct {
		Config    ocispec.Descriptor   `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(m.Raw, &fields); err != nil {
		return parsed{}, fmt.Errorf("manifest %s: %w", m.Desc.Digest, err)
	}
	return parsed{m, fields.Config, fields.Layers, fields.Manifests}, nil
}

// runnable says whether m is an image that a container can be made of: no
// index, artifact or attestation.
func (m *parsed) runnable() bool {
	if m.config.MediaType != ocispec.MediaTypeImageConfig && m.config.MediaType != pipeline.MediaTypeDockerConfig {
		return false
	}
	return !slices.ContainsFunc(m.layers, func(l ocispec.Descriptor) bool { return strings.HasSuffix(l.MediaType, "+json") })
}

// parseAll reads the manifests that were committed, by digest, and their order.
func (s *sink) parseAll() (order []parsed, byDigest map[digest.Digest]parsed, err error) {
	byDigest = map[digest.Digest]parsed{}
	for _, m := range s.manifests {
		p, err := parse(m)
		if err != nil {
			return nil, nil, err
		}
		order = append(order, p)
		byDigest[m.Desc.Digest] = p
	}
	return order, byDigest, nil
}

// writeLayout writes what follows the layers of an OCI layout.
func (s *sink) writeLayout() error {
	order, byDigest, err := s.parseAll()
	if err != nil {
		return err
	}
	idx := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	idx.SchemaVersion = 2
	var saved []savedImage
	for _, m := range order {
		if m.Config != nil {
			if err := s.queue.append(ocilayout.Blob(m.config.Digest), m.Config); err != nil {
				return err
			}
		}
		if err := s.queue.append(ocilayout.Blob(m.Desc.Digest), m.Raw); err != nil {
			return err
		}
		if m.Root {
			names := s.names(m.Manifest)
			idx.Manifests = append(idx.Manifests, indexEntries(m.Desc, names)...)
			if image, ok := s.savedImage(m, byDigest, names); ok {
				saved = append(saved, image)
			}
		}
	}
	referrers, err := pipeline.ReferrerEntries(s.manifests)
	if err != nil {
		return err
	}
	idx.Manifests = append(idx.Manifests, referrers...)
	if left := s.omitted(order); len(left) > 0 {
		s.tellPartial(left)
		return s.appendJSON(partialMember, partialList{Version: partialVersion, Comment: partialComment, Index: idx, Omitted: left})
	}
	if err := s.layoutFile(); err != nil {
		return err
	}
	if err := s.appendJSON(indexMember, idx); err != nil {
		return err
	}
	if s.cfg.Format == FormatOCI || len(saved) == 0 {
		return nil
	}
	return s.appendJSON(savedMember, saved)
}

// names are the full names under which a root is written.
func (s *sink) names(m pipeline.Manifest) []string {
	in := m.Names
	if s.cfg.Names != nil {
		in = s.cfg.Names(m)
	}
	return imagename.AllFull(in)
}

// indexEntries are what index.json says of a root; the reference name is the tag.
func indexEntries(desc ocispec.Descriptor, names []string) []ocispec.Descriptor {
	return ocilayout.Entries(desc, names, func(full string) string {
		_, tag := imagename.Split(full)
		return tag
	})
}

// savedImage is what manifest.json says of a root whose image is all there. Of
// an index it is the image for this machine, as docker save does it, else the
// first.
func (s *sink) savedImage(m parsed, byDigest map[digest.Digest]parsed, names []string) (savedImage, bool) {
	images := s.imagesOf(m, byDigest, 0)
	if len(images) == 0 {
		return savedImage{}, false
	}
	best := images[0]
	match := platforms.Only(pipeline.DefaultPlatform())
	for _, i := range images[1:] {
		p, b := i.Desc.Platform, best.Desc.Platform
		if p != nil && match.Match(*p) && (b == nil || !match.Match(*b) || match.Less(*p, *b)) {
			best = i
		}
	}
	out := savedImage{Config: ocilayout.Blob(best.config.Digest), Layers: []string{}}
	for _, n := range names {
		out.RepoTags = append(out.RepoTags, imagename.Familiar(n))
	}
	for _, l := range best.layers {
		out.Layers = append(out.Layers, ocilayout.Blob(l.Digest))
	}
	return out, true
}

// maxDepth bounds indexes in indexes.
const maxDepth = 8

// imagesOf lists the runnable images that m stands for and that are complete.
func (s *sink) imagesOf(m parsed, byDigest map[digest.Digest]parsed, depth int) (out []parsed) {
	if m.Config == nil && depth < maxDepth {
		for _, c := range m.manifests {
			if child, ok := byDigest[c.Digest]; ok {
				out = append(out, s.imagesOf(child, byDigest, depth+1)...)
			}
		}
		return out
	}
	missing := func(l ocispec.Descriptor) bool {
		return !s.committed[l.Digest] && (s.cfg.Omitted == nil || !s.cfg.Omitted(l.Digest))
	}
	if !m.runnable() || slices.ContainsFunc(m.layers, missing) {
		return nil
	}
	return []parsed{m}
}

// appendJSON writes a member of JSON, with names as they are.
func (s *sink) appendJSON(name string, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	return s.queue.append(name, bytes.TrimRight(b.Bytes(), "\n"))
}
