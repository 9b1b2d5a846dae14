package cliplugin

import (
	"context"
	"fmt"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/context/docker"
	cliflags "github.com/docker/cli/cli/flags"

	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
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

// daemonAt connects to the daemon that a location names by ?host= or ?context=.
func (p *program) daemonAt(_ context.Context, at daemon.At) (daemon.Connection, error) {
	opts := cliflags.NewClientOptions()
	opts.Context = at.Context
	host := at.Host
	if host != "" {
		opts.Hosts = []string{host}
	} else {
		endpoint, err := p.endpoint(at.Context)
		if err != nil {
			return daemon.Connection{}, err
		}
		host = endpoint.Host
	}
	if err := daemon.CheckSSH(host); err != nil {
		return daemon.Connection{}, err
	}
	cli, err := command.NewAPIClientFromFlags(opts, p.docker.ConfigFile())
	if err != nil {
		return daemon.Connection{}, fmt.Errorf("connect to the daemon at %s: %w", host, err)
	}
	return daemon.Connection{Client: cli, Host: host}, nil
}

// checkEndpoint finds the mistakes in Docker's configuration that its client
// would end the program for.
func (p *program) checkEndpoint() error {
	endpoint, err := p.endpoint(p.docker.CurrentContext())
	if err != nil {
		return err
	}
	return daemon.CheckSSH(endpoint.Host)
}

// endpoint is the daemon of a Docker context, which can be connected to.
func (p *program) endpoint(name string) (docker.Endpoint, error) {
	store := p.docker.ContextStore()
	explain := func(err error) (docker.Endpoint, error) {
		return docker.Endpoint{}, fmt.Errorf("docker context %s: %w; see \"docker context ls\"", name, err)
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
	return withTLS, nil
}
