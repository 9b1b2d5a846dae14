package cliplugin

import (
	"context"
	"errors"
	"os/signal"
	"syscall"
)

// errInterrupted: a signal, or Docker's own command line going away, ended the
// run.
var errInterrupted = errors.New("interrupted")

// interruptible returns a context that the first SIGINT or SIGTERM cancels, so
// that temporary files are removed. The second one kills at once.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// interruption tells an error that cancelling caused from one of its own.
func interruption(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}
