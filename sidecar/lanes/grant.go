package lanes

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

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

// A grant is what an image reaches of its namespace's blobs.
type grant map[digest.Digest]reached

// A reached blob is one that an image leads to.
type reached struct {
	mediaType string        // as its parent says
	speaksOf  digest.Digest // a manifest's subject; "" for most
}

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
