package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errhttp"
	"github.com/moby/moby/client"

	"github.com/occystrap/occystrap/pipeline"
)

// explain makes an error of the client say what was being done, where, and what
// helps. It keeps the chain, and marks what is missing as ErrNotFound.
func explain(ctx context.Context, cli client.APIClient, doing string, err error) error {
	host := cli.DaemonHost()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s at %s: %w", doing, host, context.Cause(ctx))
	case client.IsErrConnectionFailed(err):
		return unreachable(ctx, cli, err)
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%s at %s: %w (%s)", doing, host, pipeline.ErrNotFound, err.Error())
	}
	if status := errhttp.ToHTTP(err); status != http.StatusInternalServerError || errdefs.IsInternal(err) {
		return fmt.Errorf("%s at %s: status %d (%s): %w", doing, host, status, http.StatusText(status), err)
	}
	return fmt.Errorf("%s at %s: %w", doing, host, err) // no status, or one that the client did not keep
}

// unreachable finds out why there is no connection; the client's error keeps
// the words but loses the cause.
func unreachable(ctx context.Context, cli client.APIClient, err error) error {
	host := cli.DaemonHost()
	const elsewhere = "name another one with ?socket=, DOCKER_HOST or a Docker context"
	conn, cause := cli.Dialer()(ctx)
	if cause == nil {
		return fmt.Errorf("talk to the daemon at %s: %w", host, errors.Join(err, conn.Close()))
	}
	switch {
	case errors.Is(cause, fs.ErrPermission):
		return fmt.Errorf("permission denied for the daemon at %s: join its group (docker, for Docker), run as root, or %s: %w", host, elsewhere, cause)
	case errors.Is(cause, fs.ErrNotExist):
		return fmt.Errorf("no daemon has a socket at %s: start it, or %s: %w", host, elsewhere, cause)
	case errors.Is(cause, syscall.ECONNREFUSED):
		return fmt.Errorf("no daemon listens at %s: start it, or %s: %w", host, elsewhere, cause)
	}
	return fmt.Errorf("cannot reach the daemon at %s: check the address, or %s: %w", host, elsewhere, cause)
}
