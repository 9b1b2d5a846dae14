package daemon

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/moby/client"

	"github.com/occystrap/occystrap/pipeline"
)

// An At names a daemon; the zero value is the one that the user's Docker context
// or DOCKER_HOST names. At most one field is set.
type At struct {
	Socket  string // ?socket=, as DOCKER_HOST has it
	Host    string // ?host=: unix://, tcp:// or ssh://
	Context string // ?context=: a Docker context
}

// A Connection is a way to a daemon.
type Connection struct {
	Client client.APIClient
	// Host is the daemon's address as the user knows it; "" is the client's own.
	Host string
}

// at reads where the daemon is.
func at(loc pipeline.Location) (At, error) {
	var a At
	given := 0
	for _, o := range []string{"socket", "host", "context"} {
		if _, ok := loc.Query[o]; ok {
			given++
		}
	}
	if given > 1 {
		return a, pipeline.Usage("docker:// options socket, host and context each name a daemon; give one of them")
	}
	a.Context = loc.Query["context"]
	var err error
	if socket, ok := loc.Query["socket"]; ok {
		if a.Socket, err = socketHost(socket); err != nil {
			return a, err
		}
	}
	if host, ok := loc.Query["host"]; ok {
		if err := checkHost(host); err != nil {
			return a, err
		}
		a.Host = host
	}
	return a, nil
}

// connect returns a client of the daemon, and the address to show.
func (c Config) connect(ctx context.Context, a At) (client.APIClient, string, error) {
	switch {
	case a.Socket != "":
		cli, err := connectTo(a.Socket)
		return cli, a.Socket, err
	case a.Host != "" && !strings.HasPrefix(a.Host, "ssh://"):
		cli, err := connectTo(a.Host)
		return cli, a.Host, err
	case a != At{} && c.Connect != nil:
		conn, err := c.Connect(ctx, a)
		if err != nil {
			return nil, "", err
		}
		if err := CheckSSH(conn.Host); err != nil {
			return nil, "", errors.Join(err, conn.Client.Close())
		}
		return conn.Client, conn.Host, nil
	case a != At{}:
		return nil, "", pipeline.Usage("docker:// options context and host=ssh://… are for the command line, which knows Docker's contexts and runs ssh")
	case c.Client == nil:
		cli, err := connectFromEnv(ctx)
		return cli, "", err
	}
	cli, err := c.Client(ctx)
	if err != nil || c.Host == nil {
		return cli, "", err
	}
	host := c.Host()
	if err := CheckSSH(host); err != nil {
		return nil, "", errors.Join(err, cli.Close())
	}
	return cli, host, nil
}

// checkHost refuses what is no address of a daemon.
func checkHost(host string) error {
	scheme, rest, ok := strings.Cut(host, "://")
	if !ok || rest == "" || scheme != "unix" && scheme != "tcp" && scheme != "ssh" {
		return pipeline.Usage("docker:// option host is %q; it takes ssh://USER@HOST, tcp://HOST:PORT or unix://PATH", pipeline.OneLine(host))
	}
	return CheckSSH(host)
}
