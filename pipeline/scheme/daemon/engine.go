package daemon

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/platforms"
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

// meet asks the daemon at the other end of cli what it is.
func meet(ctx context.Context, cli client.APIClient) (*engine, error) {
	v, err := cli.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return nil, explain(ctx, cli, "ask for the version", err)
	}
	e := &engine{cli: cli, platform: platforms.Normalize(ocispec.Platform{OS: v.Os, Architecture: v.Arch})}
	for _, c := range v.Components {
		e.podman = e.podman || strings.HasPrefix(c.Name, "Podman")
	}
	if e.podman {
		return e, nil
	}
	info, err := cli.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, explain(ctx, cli, "ask for its store", err)
	}
	// Docker's own way to tell its stores apart (moby, daemon/containerd).
	e.indexes = slices.Contains(info.Info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"})
	return e, nil
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
func connectTo(host string) func(context.Context) (client.APIClient, error) {
	return func(context.Context) (client.APIClient, error) {
		opts := []client.Opt{client.WithHost(host), client.WithAPIVersionFromEnv()}
		if strings.HasPrefix(host, "tcp://") {
			opts = append([]client.Opt{client.WithTLSClientConfigFromEnv()}, opts...)
		}
		cli, err := client.New(opts...)
		if err != nil {
			return nil, pipeline.Usage("docker:// option socket does not lead to a daemon: %v", err)
		}
		return cli, nil
	}
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
		return "", pipeline.Usage("docker:// option socket is %q; it takes a path, unix://PATH or tcp://HOST:PORT (other ways, ssh among them, by DOCKER_HOST or a Docker context)", s)
	}
	return s, nil
}
