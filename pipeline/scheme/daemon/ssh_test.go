package daemon_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/scheme/daemon"
)

// badAddresses are taken for options or commands by ssh, or by a shell on either
// side.
var badAddresses = []string{
	"ssh://-oProxyCommand=touch%20x/", "ssh://-v", "ssh://-oProxyCommand=x@host", "ssh://jo@-oProxyCommand=x",
	"ssh://jo;id@host", "ssh://jo@host;id", "ssh://$(id)@host", "ssh://`id`@host", "ssh://jo@`id`", "ssh://jo@host/$(id)",
	"ssh://jo@host/run/;id", "ssh://jo@host/run/docker.sock%20id", "ssh://jo@host/run/a%0aid", "ssh://jo%0aid@host", "ssh://jo@host/-x",
	"ssh://jo@host/..%2f;x", "ssh://jo@host/run/docker.sock|id", "ssh://jo@host/'x'", "ssh://jo@host?x=y", "ssh://jo@host#x", "ssh://", "ssh://@",
	"ssh:-oProxyCommand=x", "ssh://jo@host:-1", "ssh://jo@host:22;id", "ssh://a b@host", "SSH://-oProxyCommand=x/", "Ssh:-v", "ssh://jo@ho st", "ssh://jo@host/a//b", "ssh://%2doProxyCommand=x",
}

// TestAddressesThatSSHMistakes are refused before anything could run, wherever
// they come from: an option, a Docker context, DOCKER_HOST.
func TestAddressesThatSSHMistakes(t *testing.T) {
	t.Parallel()
	for _, bad := range badAddresses {
		t.Run(bad, func(t *testing.T) {
			t.Parallel()
			var usage *pipeline.UsageError
			if err := daemon.CheckSSH(bad); !errors.As(err, &usage) {
				t.Errorf("CheckSSH says %v", err)
			}
			connected := false
			cfg := daemon.Config{Connect: func(context.Context, daemon.At) (daemon.Connection, error) {
				connected = true
				return daemon.Connection{}, errors.New("connected")
			}}
			if _, err := schemes(cfg).Source("docker://app?host=" + url.QueryEscape(bad)); !errors.As(err, &usage) || connected {
				t.Errorf("?host= says %v, connected %t", err, connected)
			}
			for name, cfg := range map[string]daemon.Config{
				"context": {Connect: func(context.Context, daemon.At) (daemon.Connection, error) {
					cli, err := client.New(client.WithHost("unix:///nowhere"))
					return daemon.Connection{Client: cli, Host: bad}, err
				}},
				"environment": {
					Client: func(context.Context) (client.APIClient, error) { return client.New(client.WithHost("unix:///nowhere")) },
					Host:   func() string { return bad },
				},
			} {
				uri := "docker://app"
				if name == "context" {
					uri += "?context=far"
				}
				src, err := schemes(cfg).Source(uri)
				must(t, err)
				if _, err := src.Open(t.Context(), pipeline.Query{}); !errors.As(err, &usage) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// TestAddressesThatSSHTakes are let through; a password is refused and not shown.
func TestAddressesThatSSHTakes(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"ssh://host", "ssh://jo@host", "ssh://jo@host.example:2222", "ssh://jo@host/", "ssh://jo@192.0.2.1:22/run/user/1000/docker.sock",
		"ssh://[2001:db8::1]:22", "ssh://build_1.x@h-1", "unix:///run/docker.sock", "tcp://host:2375", "", "npipe:////./pipe/docker",
	} {
		if err := daemon.CheckSSH(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, secret := range []string{"ssh://jo:hunter2@host", "ssh://jo:hunter2@ho%zzst"} {
		if err := daemon.CheckSSH(secret); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", secret, err)
		}
	}
}
