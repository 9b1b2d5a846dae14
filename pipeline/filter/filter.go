// Package filter holds the filters that change images on their way, or look at
// them.
//
//	layer ─▶ normalize-timestamps ─▶ exclude ─▶ … ─▶ sink
//
// A filter is middleware over the entries of a layer's tar: what it does not
// mean to change goes through byte for byte. Reading and writing tars is the
// business of package tarstream, running the chain that of package pipeline.
package filter

import (
	"context"

	"github.com/occystrap/occystrap/pipeline"
)

// Defaults are what filters take from the program's surroundings, so that none
// of them reads the environment. The zero value works.
type Defaults struct {
	// Epoch is SOURCE_DATE_EPOCH: the time that normalize-timestamps uses where
	// the user names none. Nil stands for 0.
	Epoch *int64
	// TempDir holds what a filter must put aside on disk; "" is the system's.
	TempDir string
	// Images reads the manifests and configs of another image: ref is a URI or, where
	// it has no "://", a name in a registry as Docker's users write it. No layer is
	// read. It must not send a login to a registry that the user did not name. Nil:
	// there are no other images here.
	Images func(ctx context.Context, ref string, q pipeline.Query) ([]pipeline.Manifest, error)
	// Search makes what shows the results of a search filter in a format
	// (SearchText, …). Nil: there is no such filter here.
	Search func(format string) (SearchResults, error)
}

// Kinds are the filters of this package.
func Kinds(d Defaults) pipeline.FilterKinds {
	return pipeline.FilterKinds{normalizeKind(d), excludeKind(d), searchKind(d), inspectKind(), denyKind(), configKind(), platformsKind(), attestationsKind(), recompressKind(), flattenKind(d)}
}
