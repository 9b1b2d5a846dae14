package lanes

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// mostGrants is how many images a connection keeps; a run has one or a few.
const mostGrants = 16

// grants are what one connection was found to be allowed. An image that is
// deleted meanwhile stays granted, so that who reads it can read on while its
// blobs are there.
type grants map[subject]grant

// A subject is an image in a namespace.
type subject struct {
	store     *store
	namespace string
	image     digest.Digest
}

// A grant is what an image reaches of its namespace's blobs, each with its media
// type as its parent says.
type grant map[digest.Digest]string

// check says why a blob is not lent; nil when it is.
func (g *grants) check(ctx context.Context, s *store, namespace string, image, blob digest.Digest) error {
	who := subject{s, namespace, image}
	if _, ok := (*g)[who][blob]; ok {
		return nil
	}
	known, err := s.catalog(ctx) // anew: the blob may have come since
	if err != nil {
		return err
	}
	reached, err := s.reach(known.spaces[namespace], image)
	if err != nil {
		return err
	}
	if *g == nil || len(*g) >= mostGrants {
		*g = grants{}
	}
	(*g)[who] = reached
	if _, ok := reached[blob]; !ok {
		return fmt.Errorf("image %s in namespace %s reaches no blob %s that is there: %w", image, namespace, blob, pipeline.ErrNotFound)
	}
	return nil
}

// reach walks the manifests of an image, as far as its namespace has them. That
// a file is in the content store proves nothing: namespaces share it.
func (s *store) reach(in space, image digest.Digest) (grant, error) {
	mediaType, ok := in.images[image]
	if !ok {
		return nil, fmt.Errorf("no image in that namespace has the digest %s: %w", image, pipeline.ErrNotFound)
	}
	reached := grant{}
	manifests := 0
	for todo := []ocispec.Descriptor{{MediaType: mediaType, Digest: image}}; len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		if _, seen := reached[next.Digest]; seen || !in.blobs[next.Digest] {
			continue
		}
		reached[next.Digest] = next.MediaType
		if !pipeline.IsIndex(next.MediaType) && !pipeline.IsManifest(next.MediaType) {
			continue
		}
		if manifests++; manifests > (pipeline.Limits{}).WithDefaults().Manifests {
			return nil, fmt.Errorf("image %s reaches more than %d manifests", image, manifests-1)
		}
		children, err := s.children(next.Digest)
		if err != nil {
			return nil, err
		}
		todo = append(todo, children...)
	}
	return reached, nil
}

// children are what a manifest or index lists.
func (s *store) children(d digest.Digest) ([]ocispec.Descriptor, error) {
	raw, err := s.manifest(d)
	if err != nil {
		return nil, err
	}
	var m struct {
		Config    *ocispec.Descriptor  `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", d, err)
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	return append(m.Manifests, m.Layers...), nil
}
