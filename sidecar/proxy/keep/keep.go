// Package keep is where the images of the proxy end up: in its own store, or in
// another registry, the downstream.
//
//	push, pull ─▶ Keeper ─▶ Store       sidecar/store
//	                     └▶ Downstream  HOST/PREFIX/REPOSITORY
package keep

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// A Keeper keeps images by repository. It may be used by many goroutines at once.
type Keeper interface {
	// Sink takes one image or index into a repository, under tags; without tags it
	// is found by its digest alone. A name that the place cannot have is an error.
	Sink(ctx context.Context, repository string, tags []string) (pipeline.Sink, error)
	// Backend reads what is kept. Its halves that write may be nil, or refuse.
	Backend() registry.Backend
}

// A Sizer is a Keeper that opens a blob and tells its size in one question; the size is
// -1 where the place does not tell. The bytes are not verified.
type Sizer interface {
	OpenSized(ctx context.Context, repository string, blob digest.Digest) (io.ReadCloser, int64, error)
}
