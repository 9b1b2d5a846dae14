package pipeline

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A listing is all that a graph yields, in its order, where something must be
// known of every image before the first layer moves. It is only for graphs that
// were opened with Query.Below: their layers know what lies below them.
type listing struct {
	layers    []Layer
	manifests []Manifest
	byKey     map[layerKey]Layer
}

// listGraph ranges over a graph. The layers may be opened until the graph is closed.
func listGraph(ctx context.Context, graph Graph) (listing, error) {
	l := listing{byKey: map[layerKey]Layer{}}
	for layer, err := range graph.Layers(ctx) {
		if err != nil {
			return l, on(SourceSide, err)
		}
		k := keyOf(layer, true)
		if _, again := l.byKey[k]; !again {
			l.byKey[k] = layer
			l.layers = append(l.layers, layer)
		}
	}
	for m, err := range graph.Manifests(ctx) {
		if err != nil {
			return l, on(SourceSide, err)
		}
		l.manifests = append(l.manifests, m)
	}
	return l, nil
}

// uses are the layers of one manifest, the lowest first; image says whether they
// are a file system. An index has none.
func (l listing) uses(m Manifest, q Query) (uses []Layer, image bool, err error) {
	if IsIndex(m.Desc.MediaType) {
		return nil, false, nil
	}
	im, err := parseManifest(m.Desc, m.Raw)
	if err != nil {
		return nil, false, on(SourceSide, err)
	}
	_, image, _ = readImageConfig(im, m.Config)
	for i, desc := range im.Layers {
		k := layerKey{blob: desc.Digest, role: Opaque, foreign: foreignPolicy(desc, q)}
		if image && !isOpaque(desc.MediaType) {
			k.role, k.below = FileSystem, belowOf(im.Layers, i)
		}
		use, ok := l.byKey[k]
		if !ok {
			return nil, false, on(SourceSide, fmt.Errorf("manifest %s: layer %d, %s: it did not come", m.Desc.Digest, i, desc.Digest))
		}
		uses = append(uses, use)
	}
	return uses, image, nil
}

// graph is a graph of these layers, with the manifests of the listing.
func (l listing) graph(layers []Layer, closer func() error) *resolved {
	g := &resolved{layers: layers, closer: closer}
	for _, m := range l.manifests {
		g.nodes = append(g.nodes, &node{Manifest: m})
	}
	return g
}

// belowOf stands for the layers below the i-th one of a manifest.
func belowOf(layers []ocispec.Descriptor, i int) string {
	return belowKey(i, func(j int) digest.Digest { return layers[j].Digest })
}
