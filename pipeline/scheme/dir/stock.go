package dir

import (
	"context"
	"errors"
	"iter"
	"os"

	"github.com/occystrap/occystrap/pipeline"
)

// stock lists what a directory has. One that is there and has no images has
// nothing.
type stock struct{ source }

var (
	_ pipeline.Inventor = (*stock)(nil)
	_ pipeline.Inventor = (*sink)(nil)
)

// Holdings are the layers of the directory's images.
func (s *stock) Holdings(ctx context.Context, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	root, err := os.OpenRoot(s.path)
	if err != nil {
		return pipeline.NoHoldings(s.explain(err))
	}
	defer root.Close()
	have, err := (&folder{root: root, what: s.path}).format()
	if err != nil || have == formatUnknown {
		return pipeline.NoHoldings(err)
	}
	return pipeline.HoldingsOf(ctx, &s.source, limits)
}

// Holdings are the layers of the images that are in the directory before the run.
// The plain layout needs no list: it has layers by their diff IDs.
func (s *sink) Holdings(ctx context.Context, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error] {
	if _, err := os.Stat(s.path); !s.oci || errors.Is(err, os.ErrNotExist) {
		return pipeline.NoHoldings(nil) // a run makes the directory
	}
	return (&stock{source{path: s.path, format: formatOCI}}).Holdings(ctx, limits)
}
