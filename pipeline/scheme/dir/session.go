package dir

import (
	"context"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/internal/staging"
)

// A session is one run's work in a directory: all it writes has temporary names
// until it is published (package staging).
type session struct {
	*folder
	*staging.Dir
}

// openSession opens or makes the directory for writing.
func openSession(ctx context.Context, path string, limits pipeline.Limits) (*session, error) {
	d, err := staging.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return &session{folder: &folder{root: d.Root, what: path, limits: limits}, Dir: d}, nil
}
