package pipeline

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A node is one manifest of a resolved graph, with the place its blobs are in.
type node struct {
	Manifest
	content Content
	layers  []ocispec.Descriptor // nil for an index
	diffIDs []digest.Digest      // of an image; nil otherwise
	image   bool                 // its layers are a file system
}

// resolved is the Graph of a source whose manifests are known from the start.
type resolved struct {
	nodes  []*node // children before parents
	layers []Layer // each use of a blob once, in the order of the manifests
	closer func() error
}

var _ Graph = (*resolved)(nil)

func newResolved(nodes []*node, q Query, origin string, closer func() error) (*resolved, error) {
	g := &resolved{nodes: nodes, closer: closer}
	seen := map[layerKey]bool{}
	for _, n := range nodes {
		var below []Layer
		for i, desc := range n.layers {
			l := n.layer(i, desc, q, origin)
			l.Parents = slices.Clip(below)
			below = append(below, l)
			if err := layerFault(desc); err != nil {
				err = fmt.Errorf("layer %d of manifest %s: %w", i, n.Desc.Digest, err)
				if err := q.Fault(FaultLayerDescriptor, n.Desc.Digest, err); err != nil {
					return nil, err
				}
				continue
			}
			if k := keyOf(l, true); !seen[k] {
				seen[k] = true
				g.layers = append(g.layers, l)
			}
		}
	}
	return g, nil
}

func (n *node) layer(i int, desc ocispec.Descriptor, q Query, origin string) Layer {
	l := Layer{Blob: desc, Role: Opaque, Origin: origin}
	if n.image && !isOpaque(desc.MediaType) {
		l.Role, l.DiffID, l.Platform = FileSystem, n.diffIDs[i], n.Desc.Platform
	}
	l.Open = func(ctx context.Context) (io.ReadCloser, error) { return n.content.Open(ctx, desc) }
	if s, ok := n.content.(Sparse); ok && !isForeign(desc) {
		l.Absent = s.Omits(desc.Digest)
	}
	if l.Foreign = foreignPolicy(desc, q); l.Foreign == ForeignFetch {
		l.Blob.URLs = nil
		l.Open = func(ctx context.Context) (io.ReadCloser, error) { return openForeign(ctx, n.content, desc, q) }
	}
	return l
}

func (g *resolved) Layers(context.Context) iter.Seq2[Layer, error] {
	return func(yield func(Layer, error) bool) {
		for _, l := range g.layers {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (g *resolved) Manifests(context.Context) iter.Seq2[Manifest, error] {
	return func(yield func(Manifest, error) bool) {
		for _, n := range g.nodes {
			if !yield(n.Manifest, nil) {
				return
			}
		}
	}
}

func (g *resolved) Close() error {
	if g.closer == nil {
		return nil
	}
	return g.closer()
}
