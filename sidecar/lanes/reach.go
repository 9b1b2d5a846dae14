package lanes

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// A walk goes down from an image: to what it lists, and then to what containerd keeps
// with it because it refers to it.
type walk struct {
	store     *store
	in        space
	reached   grant
	manifests int
	referrers []digest.Digest // yet to be looked at
}

// reach walks the manifests of an image, as far as its namespace has them. That
// a file is in the content store proves nothing: namespaces share it.
func (s *store) reach(in space, image digest.Digest) (grant, error) {
	mediaType, ok := in.images[image]
	if !ok {
		return nil, fmt.Errorf("no image in that namespace has the digest %s: %w", image, pipeline.ErrNotFound)
	}
	w := walk{store: s, in: in, reached: grant{}}
	if err := w.down(ocispec.Descriptor{MediaType: mediaType, Digest: image}); err != nil {
		return nil, err
	}
	if w.manifests > mostManifests() {
		return nil, fmt.Errorf("image %s reaches more than %d manifests", image, mostManifests())
	}
	for len(w.referrers) > 0 && w.manifests < mostManifests() {
		next := w.referrers[0]
		w.referrers = w.referrers[1:]
		// A registry that the image came from listed it: whatever it is, it is no
		// reason not to have the image.
		_ = w.down(ocispec.Descriptor{Digest: next})
	}
	return w.reached, nil
}

func mostManifests() int { return (pipeline.Limits{}).WithDefaults().Manifests }

// down walks what a descriptor leads to, up to the limit of manifests and one more.
// One without a media type is a manifest that says itself which.
func (w *walk) down(from ocispec.Descriptor) error {
	for todo := []ocispec.Descriptor{from}; len(todo) > 0 && w.manifests <= mostManifests(); {
		next := todo[0]
		todo = todo[1:]
		if _, seen := w.reached[next.Digest]; seen || !w.in.blobs[next.Digest] {
			continue
		}
		if next.MediaType != "" && !pipeline.IsIndex(next.MediaType) && !pipeline.IsManifest(next.MediaType) {
			w.reached[next.Digest] = reached{mediaType: next.MediaType}
			continue
		}
		w.manifests++
		m, err := w.store.read(next)
		if err != nil {
			return err
		}
		w.reached[next.Digest] = reached{mediaType: m.MediaType, speaksOf: m.Subject.Digest}
		w.referrers = append(w.referrers, w.in.referrers[next.Digest]...)
		todo = append(todo, m.children()...)
	}
	return nil
}

// A document is what the walk reads of a manifest or index.
type document struct {
	MediaType string               `json:"mediaType"`
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Manifests []ocispec.Descriptor `json:"manifests"`
	Subject   struct {
		Digest digest.Digest `json:"digest"`
	} `json:"subject"`
}

// read reads a manifest or index, which is of the type that its descriptor gives.
func (s *store) read(d ocispec.Descriptor) (document, error) {
	raw, err := s.manifest(d.Digest)
	if err != nil {
		return document{}, err
	}
	var m document
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("read manifest %s: %w", d.Digest, err)
	}
	if d.MediaType != "" {
		m.MediaType = d.MediaType
	}
	if !pipeline.IsIndex(m.MediaType) && !pipeline.IsManifest(m.MediaType) {
		return m, fmt.Errorf("%s says not what manifest it is", d.Digest)
	}
	return m, nil
}

// children are what a manifest or index lists.
func (m document) children() []ocispec.Descriptor {
	list := slices.Concat(m.Manifests, m.Layers)
	if m.Config != nil {
		list = append(list, *m.Config)
	}
	return list
}
