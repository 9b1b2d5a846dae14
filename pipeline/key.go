package pipeline

import (
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A layerKey tells uses of a blob apart that may come to different ends: one
// image keeps it by its URLs and another carries it, one takes it for a file
// system and another for an artifact's blob. A filter may also look at the
// layers below (Recipe.Below), so the same layer upon others is another one; and
// it may belong to one image's base and not to another's.
type layerKey struct {
	blob    digest.Digest
	role    Role
	foreign Foreign
	below   string
	base    bool
}

// keyOf is the key of a layer as a source yields it; below says whether what
// lies below the layer is part of it.
func keyOf(l Layer, below bool) layerKey {
	k := layerKey{blob: l.Blob.Digest, role: l.Role, foreign: l.Foreign, base: l.Base != ""}
	if l.Role == FileSystem && below {
		k.below = belowKey(len(l.Parents), func(i int) digest.Digest { return l.Parents[i].Blob.Digest })
	}
	return k
}

// outcome finds what became of the i-th layer of a manifest. A layer that came
// before its manifest has no role and nothing below it.
func (r *run) outcome(of digest.Digest, layers []ocispec.Descriptor, i int, role Role) *outcome {
	k := r.useOf(of, layers, i, role)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcomes[k]
}

// useOf is the key under which the i-th layer of a manifest came, or will come.
func (r *run) useOf(of digest.Digest, layers []ocispec.Descriptor, i int, role Role) layerKey {
	desc := layers[i]
	k := layerKey{blob: desc.Digest, role: role, foreign: foreignPolicy(desc, r.opts.Query)}
	if role == FileSystem && r.below {
		k.below, k.base = belowOf(layers, i), i < r.bases[of].Layers
	}
	early := layerKey{blob: desc.Digest, role: Unknown}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, came := r.outcomes[k]
	_, cameEarly := r.outcomes[early]
	if !came && cameEarly {
		return early
	}
	return k
}

func belowKey(n int, blob func(int) digest.Digest) string {
	var s strings.Builder
	for i := range n {
		s.WriteString(blob(i).String())
		s.WriteByte(' ')
	}
	return digest.FromString(s.String()).Encoded()
}

// foreignPolicy is what happens to a layer: "" for an ordinary one.
func foreignPolicy(desc ocispec.Descriptor, q Query) Foreign {
	switch {
	case !isForeign(desc):
		return ""
	case q.Foreign == "":
		return ForeignKeep
	}
	return q.Foreign
}
