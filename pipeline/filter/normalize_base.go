package filter

import (
	"context"
	"encoding/json"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// normalizeAbove is normalize that leaves base images as they are: their layers,
// and what the config says of how they were made.
type normalizeAbove struct {
	*normalize
	search *baseSearch
	found  map[digest.Digest]foundBase // by image
}

var (
	_ pipeline.BaseFinder   = (*normalizeAbove)(nil)
	_ pipeline.ConfigFilter = (*normalizeAbove)(nil)
)

// above is the filter that the option base makes of n; n itself without it.
func (n *normalize) above(d Defaults, o pipeline.FilterOptions) (pipeline.Filter, error) {
	search, err := newBaseSearch(d, o)
	if err != nil || !search.wanted() {
		return n, err
	}
	return &normalizeAbove{normalize: n, search: search}, nil
}

// Recipe is that of normalize, and where the base comes from. What it turned out
// to be is told of each layer (pipeline.Layer.Base).
func (n *normalizeAbove) Recipe() pipeline.Recipe {
	r := n.normalize.Recipe()
	r.Key += n.search.key()
	r.Below = true
	return r
}

// Bases looks for the bases of all images.
func (n *normalizeAbove) Bases(ctx context.Context, manifests []pipeline.Manifest) (map[digest.Digest]pipeline.Base, error) {
	var err error
	if n.found, err = n.search.find(ctx, manifests); err != nil {
		return nil, err
	}
	out := map[digest.Digest]pipeline.Base{}
	for d, f := range n.found {
		out[d] = f.Base
	}
	return out, nil
}

// Layer leaves a layer of a base alone.
func (n *normalizeAbove) Layer(ctx context.Context, l pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	if l.Base != "" {
		l.Note("stays, since it belongs to the base image: " + l.Base)
		return next, nil
	}
	return n.normalize.Layer(ctx, l, next)
}

// Config is that of normalize, but for the history of the base, and for an image
// that is nothing but its base.
func (n *normalizeAbove) Config(_ context.Context, image ocispec.Descriptor, config []byte) ([]byte, error) {
	f := n.found[image.Digest]
	var now struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
		History []json.RawMessage `json:"history"`
	}
	if err := json.Unmarshal(config, &now); err != nil {
		return nil, err
	}
	if f.whole(len(now.RootFS.DiffIDs)) {
		return config, nil
	}
	// Layers that were left out took their history with them: those kept elsewhere
	// by their URLs, which only base images have.
	kept := max(0, f.history-(f.entries-len(now.History)))
	return n.configAbove(config, kept)
}
