package content

import (
	"context"

	"github.com/occystrap/occystrap/pipeline"
)

// ByContainerd makes a sink behave as for a user who has containerd's socket and
// cannot reach its directories.
func ByContainerd(ctx context.Context, to pipeline.Sink) error {
	s := to.(*sink) //nolint:forcetypeassert // a test's own
	if err := s.begin(ctx); err != nil {
		return err
	}
	s.filler.at.proof.Do(func() {})
	s.filler.at.hidden.Store(true)
	return nil
}
