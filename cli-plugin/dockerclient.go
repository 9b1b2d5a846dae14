package cliplugin

import (
	"context"
	"fmt"

	"github.com/docker/cli/cli/context/docker"
)

// daemonClient returns a function that connects to the daemon that docker's
// own commands would use: --host, DOCKER_HOST, --context, DOCKER_CONTEXT, the
// current context. It connects when it is first called, not before.
//
// The result is a client.APIClient; that this package need not know.
func daemonClient[T any](p *program, client func() T) func(context.Context) (T, error) {
	return func(context.Context) (T, error) {
		if err := p.checkEndpoint(); err != nil {
			var none T
			return none, err
		}
		return client(), nil
	}
}

// checkEndpoint finds the mistakes in Docker's configuration that its client
// would end the program for.
func (p *program) checkEndpoint() error {
	name, store := p.docker.CurrentContext(), p.docker.ContextStore()
	explain := func(err error) error {
		return fmt.Errorf("docker context %s: %w; see \"docker context ls\"", name, err)
	}
	meta, err := store.GetMetadata(name)
	if err != nil {
		return explain(err)
	}
	endpoint, err := docker.EndpointFromContext(meta)
	if err != nil {
		return explain(err)
	}
	withTLS, err := docker.WithTLSData(store, name, endpoint)
	if err != nil {
		return explain(err)
	}
	if _, err := withTLS.ClientOpts(); err != nil {
		return explain(err)
	}
	return nil
}
