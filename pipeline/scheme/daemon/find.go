package daemon

import (
	"context"
	"fmt"

	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Found is what a daemon says of an image.
type Found struct {
	// ID is the daemon's: the config's digest in a graph driver and in Podman, the
	// root's (an index's, mostly) in the containerd store.
	ID digest.Digest
	// Root describes what the name points at; nil where the daemon does not say
	// (before API 1.48, and all but the containerd store).
	Root *ocispec.Descriptor
	// DiffIDs are the layers of the image that the daemon would run.
	DiffIDs []digest.Digest
	// Names are the full names of the image that was asked for: the one that was
	// given; of an ID none.
	Names []string
	// Tags are all names that the daemon has for it.
	Tags []string
}

// Find asks the daemon for an image. Where there is none the error is
// pipeline.ErrNotFound.
func (p *Place) Find(ctx context.Context, ref Reference) (Found, error) {
	said, err := p.Client.ImageInspect(ctx, ref.Ask)
	if err != nil {
		return Found{}, explain(ctx, p.Client, "inspect image "+ref.Ask, err)
	}
	f := Found{ID: digest.Digest(said.ID), Root: said.Descriptor, Names: ref.names(said.ID, said.RepoTags), Tags: said.RepoTags}
	for _, d := range said.RootFS.Layers {
		f.DiffIDs = append(f.DiffIDs, digest.Digest(d))
	}
	return f, nil
}

// Tag gives an image, by its ID, a name. What had the name before stays without
// one.
func (p *Place) Tag(ctx context.Context, id, name string) error {
	_, err := p.Client.ImageTag(ctx, client.ImageTagOptions{Source: id, Target: name})
	if err != nil {
		return explain(ctx, p.Client, fmt.Sprintf("name image %s %s", id, name), err)
	}
	return nil
}
