package daemon

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
)

// API versions at which daemons learned what we use.
const (
	apiZstd      = "1.42" // Docker 23: layers compressed with zstd are loaded
	apiManifests = "1.48" // Docker 28: ?manifests= of inspect, ?platform= of export
)

// An engine is a daemon that answered.
type engine struct {
	cli client.APIClient
	// podman: it is Podman's compatible API.
	podman bool
	// indexes: the store holds indexes and keeps manifests as they are
	// (containerd's). Others hold one image under one name.
	indexes bool
	// platform is what the daemon runs.
	platform ocispec.Platform
}

// knows says whether the daemon's API has reached a version.
func knows(cli client.APIClient, version string) bool {
	return versions.GreaterThanOrEqualTo(cli.ClientVersion(), version)
}

// connectFromEnv follows DOCKER_HOST, DOCKER_CERT_PATH, DOCKER_TLS_VERIFY and
// DOCKER_API_VERSION, to the local socket when there are none.
func connectFromEnv(context.Context) (client.APIClient, error) {
	cli, err := client.New(client.FromEnv)
	if err != nil {
		return nil, pipeline.Usage("DOCKER_HOST and its like do not lead to a daemon: %v", err)
	}
	return cli, nil
}

// connectTo connects to a host of the form that DOCKER_HOST has.
func connectTo(host string) (client.APIClient, error) {
	opts := []client.Opt{client.WithHost(host), client.WithAPIVersionFromEnv()}
	if strings.HasPrefix(host, "tcp://") {
		opts = append([]client.Opt{client.WithTLSClientConfigFromEnv()}, opts...)
	}
	cli, err := client.New(opts...)
	if err != nil {
		return nil, pipeline.Usage("%q does not lead to a daemon: %v", host, err)
	}
	return cli, nil
}

// socketHost reads the option socket: a path or the URL of a daemon.
func socketHost(s string) (string, error) {
	scheme, rest, isURL := strings.Cut(s, "://")
	if !isURL {
		path, err := filepath.Abs(s)
		if err != nil {
			return "", pipeline.Usage("docker:// option socket is %q, which is no path: %v", s, err)
		}
		return "unix://" + path, nil
	}
	if rest == "" || scheme != "unix" && scheme != "tcp" {
		return "", pipeline.Usage("docker:// option socket is %q; it takes a path, unix://PATH or tcp://HOST:PORT (for others, ssh among them, there are the options host and context)", s)
	}
	return s, nil
}
