package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/containerd/errdefs"

	"github.com/occystrap/occystrap/pipeline"
)

// unreachable says why there is no connection, and what helps.
func (p place) unreachable(err error) error {
	const elsewhere = "name another one with ?address= or CONTAINERD_ADDRESS"
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("permission denied for containerd at %s: run as root, whom the socket belongs to, or %s: %w", p.socket, elsewhere, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no containerd has a socket at %s: start it, or %s: %w", p.socket, elsewhere, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no containerd listens at %s: start it, or %s: %w", p.socket, elsewhere, err)
	}
	return fmt.Errorf("cannot reach containerd at %s: check the address, or %s: %w", p.socket, elsewhere, err)
}

// explain makes an error of the client say what was being done, and where. It
// keeps the chain, and marks what is missing as pipeline.ErrNotFound.
func (p place) explain(ctx context.Context, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s in %s: %w", doing, p, context.Cause(ctx))
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%s in %s: %w (%s)", doing, p, pipeline.ErrNotFound, err.Error())
	case errdefs.IsUnavailable(err):
		return fmt.Errorf("%s in %s: containerd does not answer any more: %w", doing, p, err)
	}
	return fmt.Errorf("%s in %s: %w", doing, p, err)
}

// String names the place in messages.
func (p place) String() string {
	return fmt.Sprintf("namespace %s of containerd at %s", p.namespace, p.socket)
}
