package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"

	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// An outline is the graph of images that nobody reads: what the daemon says of
// them. Its manifests are made up.
type outline struct {
	manifests []pipeline.Manifest
	layers    []pipeline.Layer
}

var _ pipeline.Graph = (*outline)(nil)

// outline asks the daemon for the images of t, and moves none of them.
func (t Target) outline(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	o := &outline{}
	cli := t.Place.Client
	for _, ref := range t.Images {
		found, err := cli.ImageInspect(ctx, ref.Ask)
		if err != nil {
			return nil, explain(ctx, cli, "inspect image "+ref.Ask, err)
		}
		b, err := newBrief(ctx, cli, ref.Ask, found)
		if err != nil {
			return nil, err
		}
		b.manifest.Names = ref.names(found.ID, found.RepoTags)
		if err := o.add(ctx, cli, ref.Ask, found, b.manifest); err != nil {
			return nil, err
		}
	}
	q.Foresight.Approximate()
	if t.Place.Store == StoreContainerd {
		q.Foresight.Vague("the daemon does not tell the digests of its layers by this lane")
	}
	return o, nil
}

// add makes layers and a manifest of what the daemon says. A graph driver exports
// plain layers, whose digests are their diff IDs.
func (o *outline) add(ctx context.Context, cli client.APIClient, name string, found client.ImageInspectResult, m pipeline.Manifest) error {
	sizes := layerSizes(ctx, cli, name, len(found.RootFS.Layers))
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	manifest.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(m.Config), Size: int64(len(m.Config))}
	var parents []pipeline.Layer
	for i, d := range found.RootFS.Layers {
		l := pipeline.Layer{DiffID: digest.Digest(d), Open: unopened, Parents: append([]pipeline.Layer{}, parents...)}
		l.Blob = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: l.DiffID}
		if sizes != nil {
			l.Blob.Size = sizes[i]
		}
		parents = append(parents, l)
		manifest.Layers = append(manifest.Layers, l.Blob)
	}
	o.layers = append(o.layers, parents...)
	raw, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	m.Raw = raw
	if m.Desc.MediaType == "" {
		m.Desc.MediaType = ocispec.MediaTypeImageManifest
	}
	o.manifests = append(o.manifests, m)
	return nil
}

// layerSizes are the bytes of files in each layer, the lowest first; nil where
// the daemon does not say which layer is which.
func layerSizes(ctx context.Context, cli client.APIClient, name string, layers int) []int64 {
	said, err := cli.ImageHistory(ctx, name)
	if err != nil {
		return nil
	}
	var sizes []int64
	for i := len(said.Items) - 1; i >= 0; i-- {
		if s := said.Items[i].Size; s > 0 {
			sizes = append(sizes, s)
		}
	}
	if len(sizes) != layers {
		return nil
	}
	return sizes
}

func unopened(context.Context) (io.ReadCloser, error) {
	return nil, errors.New("it is foreseen only")
}

// Layers yields what stands in the daemon's configs.
func (o *outline) Layers(context.Context) iter.Seq2[pipeline.Layer, error] {
	return func(yield func(pipeline.Layer, error) bool) {
		for _, l := range o.layers {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// Manifests yields one for each image.
func (o *outline) Manifests(context.Context) iter.Seq2[pipeline.Manifest, error] {
	return func(yield func(pipeline.Manifest, error) bool) {
		for _, m := range o.manifests {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// Close has nothing to close: the client belongs to the place.
func (*outline) Close() error { return nil }
