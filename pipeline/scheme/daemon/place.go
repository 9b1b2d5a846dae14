package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Store is the kind of a daemon's image store.
type Store string

// The stores of daemons.
const (
	StoreUnknown    Store = ""                 // the daemon does not say
	StoreContainerd Store = "containerd"       // containerd's image store: blobs as they came, indexes
	StoreGraph      Store = "graph driver"     // Docker's own: plain layers, one image under one name
	StorePodman     Store = "Podman's storage" // plain layers; manifests are kept
)

// A Place is a daemon, and what was learned of it when the run met it. Lanes
// share it and do not change it; whoever chose the lane closes Client.
type Place struct {
	// Client speaks to the daemon.
	Client client.APIClient
	// Host is the daemon's address as the user knows it: unix://, tcp://,
	// ssh://USER@HOST. It has no secrets.
	Host string
	// Version is the daemon's own; API that of the Engine API which Client speaks.
	Version, API string
	// Store is the kind of image store; Driver the graph driver or snapshotter in
	// it ("overlay2", "overlayfs"), "" while unknown.
	Store  Store
	Driver string
	// Root is where the daemon keeps its data, in its own file system ("" while
	// unknown): /var/lib/docker.
	Root string
	// Containerd is the socket of the containerd that the daemon uses, and
	// Namespace its namespace there for images; "" where the daemon does not say
	// (before API 1.46).
	Containerd, Namespace string
	// Rootless: the daemon runs without root.
	Rootless bool
	// Platform is what the daemon runs.
	Platform ocispec.Platform
	// Process is the process that listens at the daemon's unix socket, by our own
	// numbers; 0 while unknown.
	Process int
	// FilesAway says why files in Root are not here under their names; "" where
	// they are, as far as can be told.
	FilesAway string
	// LoopbackAway says why 127.0.0.1 is not the same for the daemon and for us; ""
	// where it is, as far as can be told.
	LoopbackAway string
	// Forward leads a port of ours to the daemon's side: Client's daemon reaches
	// localAddr (127.0.0.1:PORT) at the address that comes back, until close is
	// called. Nil where there is no such way.
	Forward func(ctx context.Context, localAddr string) (addr string, closing func() error, err error)

	storeErr error // why Store is unknown
}

// Podman says whether the daemon is Podman's compatible API.
func (p *Place) Podman() bool { return p.Store == StorePodman }

// Knows says whether the daemon's API has reached a version ("1.48").
func (p *Place) Knows(version string) bool { return knows(p.Client, version) }

// Meet asks the daemon behind client what it is, and where. Host is its address
// as the user knows it; "" stands for the client's own.
func Meet(ctx context.Context, cli client.APIClient, host string) (*Place, error) {
	if host == "" {
		host = cli.DaemonHost()
	}
	v, err := cli.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return nil, explain(ctx, cli, "ask for the version", err)
	}
	p := &Place{
		Client: cli, Host: host, Version: v.Version, API: cli.ClientVersion(),
		Platform: platforms.Normalize(ocispec.Platform{OS: v.Os, Architecture: v.Arch}),
	}
	for _, c := range v.Components {
		if strings.HasPrefix(c.Name, "Podman") {
			p.Store = StorePodman
		}
	}
	said, err := cli.Info(ctx, client.InfoOptions{})
	switch {
	case err == nil:
		p.learn(said.Info)
	case ctx.Err() != nil:
		return nil, explain(ctx, cli, "ask for its store", err)
	case !p.Podman(): // save needs no more than the image; other lanes do
		p.storeErr = explain(ctx, cli, "ask for its store", err)
	}
	p.locate(ctx, said.Info.KernelVersion)
	return p, nil
}

// learn takes from a daemon's info what it says of its store.
func (p *Place) learn(info system.Info) {
	p.Driver, p.Root = info.Driver, info.DockerRootDir
	p.Rootless = slices.Contains(info.SecurityOptions, "name=rootless")
	if p.Podman() {
		return
	}
	p.Store = StoreGraph
	// Docker's own way to tell its stores apart (moby, daemon/containerd).
	if slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"}) {
		p.Store = StoreContainerd
	}
	if c := info.Containerd; c != nil {
		p.Containerd, p.Namespace = c.Address, c.Namespaces.Containers
	}
}

// engine is what the Engine API's own lanes know of the place.
func (p *Place) engine() (*engine, error) {
	if p.Store == StoreUnknown {
		return nil, p.storeErr
	}
	return &engine{cli: p.Client, podman: p.Podman(), indexes: p.Store == StoreContainerd, platform: p.Platform}, nil
}

// FilesHere is nil where the daemon's files may be read under their own names, as
// far as can be told; else it says why not.
func (p *Place) FilesHere() error { return because(p.FilesAway) }

// LoopbackHere is nil where the daemon reaches what listens on our 127.0.0.1, as
// far as can be told; else it says why not. Forward may be another way.
func (p *Place) LoopbackHere() error { return because(p.LoopbackAway) }

func because(reason string) error {
	if reason == "" {
		return nil
	}
	return errors.New(reason)
}
