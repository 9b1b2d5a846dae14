package pipeline

import (
	"context"
	"iter"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An Inventor is a place that can list the layers that it has, so that a run on
// another machine can leave them out. A sink that is one helps Run with layers
// that the source leaves out: where the sink has the same tar compressed
// otherwise, the image gets that blob.
type Inventor interface {
	// Holdings yields what the place has, in any order, and perhaps twice. That
	// there is no such place is an error, and no empty list.
	Holdings(ctx context.Context, limits Limits) iter.Seq2[Holding, error]
}

// A Holding is one layer that a place has.
type Holding struct {
	// Blob describes the layer as it is stored there; its digest is "" where a
	// place stores layers in a way of its own (a graph driver, unpacked files).
	Blob ocispec.Descriptor
	// DiffID is the digest of its plain tar; "" while unknown.
	DiffID digest.Digest
	// ChainID, if set: the place has the layer only upon the layers that this
	// names, as a graph driver does. Upon others it would have to come again.
	ChainID digest.Digest
}

// ChainIDs are those of an image's layers, the lowest first (image-spec,
// config.md, "Layer ChainID"). From the first diff ID on that is not known they
// are "".
func ChainIDs(diffIDs []digest.Digest) []digest.Digest {
	chain := make([]digest.Digest, len(diffIDs))
	for i, d := range diffIDs {
		switch {
		case d == "":
			return chain
		case i == 0:
			chain[i] = d
		default:
			chain[i] = digest.FromString(chain[i-1].String() + " " + d.String())
		}
	}
	return chain
}

// ChainID is that of a layer upon its parents; "" where it is not known: the
// layer came before its manifest, or is no file system.
func (l Layer) ChainID() digest.Digest {
	if l.Role != FileSystem {
		return ""
	}
	diffIDs := make([]digest.Digest, 0, len(l.Parents)+1)
	for _, p := range l.Parents {
		diffIDs = append(diffIDs, p.DiffID)
	}
	return ChainIDs(append(diffIDs, l.DiffID))[len(l.Parents)]
}
