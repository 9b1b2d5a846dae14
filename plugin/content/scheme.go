package content

import (
	"cmp"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/pkg/identifiers"

	"github.com/occystrap/occystrap/pipeline"
)

// Config says where containerd is. The zero value works.
type Config struct {
	// Address is the socket, where a location names none; "" is
	// DefaultAddress.
	Address string
	// Namespace is containerd's, where a location names none; "" is
	// DefaultNamespace.
	Namespace string
	// Limits bound what a layer may cost that is unpacked here.
	Limits pipeline.Limits
	// Events receives what the user should know; nil discards.
	Events pipeline.Events
}

// What ctr and nerdctl take when nobody says otherwise.
const (
	DefaultAddress   = "/run/containerd/containerd.sock"
	DefaultNamespace = "default"
)

// SchemeName is the scheme of containerd's locations.
const SchemeName = "containerd"

// Scheme is containerd://NAME[:TAG][@DIGEST] or containerd://DIGEST: images in
// containerd. As a destination the name may be left out, to keep the names of
// the source.
func Scheme(cfg Config) pipeline.Scheme {
	return pipeline.Scheme{
		Name: SchemeName,
		Options: []pipeline.Option{
			{Name: "namespace", Source: true, Sink: true, Help: "containerd's namespace: default, k8s.io, moby; CONTAINERD_NAMESPACE is the default"},
			{Name: "address", Source: true, Sink: true, Help: "containerd's socket; CONTAINERD_ADDRESS is the default"},
			{Name: "unpack", Sink: true, Help: "unpack the image for this machine, ready to run (true)"},
			{Name: "snapshotter", Source: true, Sink: true, Help: "unpack into this snapshotter, or rebuild from it; the namespace's own is the default"},
			{Name: "rediff", Source: true, Help: "rebuild layers that containerd discarded from their snapshots, with other digests (false)"},
			pipeline.RecompressOption,
		},
		Source: cfg.source,
		Sink:   cfg.sink,
		Inventor: func(loc pipeline.Location) (pipeline.Inventor, error) {
			at, _, err := cfg.target(loc)
			if err != nil {
				return nil, err
			}
			return stock{at}, nil
		},
	}
}

func (c Config) source(loc pipeline.Location) (pipeline.Source, error) {
	at, ref, err := c.target(loc)
	if err != nil {
		return nil, err
	}
	if ref.given == "" {
		return nil, pipeline.Usage("containerd:// as a source needs an image: write containerd://NAME[:TAG]")
	}
	s := &source{at: at, ref: ref, snapshotter: loc.Query["snapshotter"]}
	if s.rediff, _, err = loc.Bool("rediff"); err != nil {
		return nil, err
	}
	if s.snapshotter != "" && !s.rediff {
		return nil, pipeline.Usage("containerd:// as a source has snapshotter only with rediff=true; leave it out, or add that")
	}
	return s, nil
}

func (c Config) sink(loc pipeline.Location) (pipeline.Sink, error) {
	at, ref, err := c.target(loc)
	if err != nil {
		return nil, err
	}
	if ref.given != "" && ref.name == "" {
		return nil, pipeline.Usage("containerd://%s cannot be a destination: it is no name, or a digest, which follows from the content; write containerd://NAME[:TAG]", ref.given)
	}
	s := &sink{at: at, name: ref.name, namer: plainNames{}, limits: c.Limits, unpack: true, snapshotter: loc.Query["snapshotter"], events: c.Events}
	if s.recompress, err = loc.Recompress(); err != nil {
		return nil, err
	}
	if unpack, given, err := loc.Bool("unpack"); err != nil {
		return nil, err
	} else if given {
		s.unpack = unpack
	}
	if s.snapshotter != "" && !s.unpack {
		return nil, pipeline.Usage("containerd:// options snapshotter and unpack=false contradict each other; leave one out")
	}
	return s, nil
}

// A place is one namespace of one containerd.
type place struct {
	socket, namespace string
}

// target reads what both ends have in common.
func (c Config) target(loc pipeline.Location) (place, reference, error) {
	if loc.User != nil {
		return place{}, reference{}, pipeline.Usage("containerd:// takes no user or password: containerd asks for none; write containerd://NAME[:TAG]")
	}
	p, err := c.place(loc.Query["address"], loc.Query["namespace"])
	if err != nil {
		return p, reference{}, err
	}
	name := loc.Host + loc.Path
	if loc.Host == "" {
		name = strings.TrimPrefix(loc.Path, "/")
	}
	return p, parseReference(name), nil
}

// place reads where containerd is; "" is what it is mostly.
func (c Config) place(address, namespace string) (place, error) {
	p := place{socket: cmp.Or(address, c.Address, DefaultAddress), namespace: cmp.Or(namespace, c.Namespace, DefaultNamespace)}
	if err := identifiers.Validate(p.namespace); err != nil {
		return p, pipeline.Usage("containerd:// option namespace is %q, which is no namespace of containerd (%v); it takes a name as default, k8s.io or moby", p.namespace, err)
	}
	kind, rest, isURL := strings.Cut(p.socket, "://")
	switch {
	case isURL && kind != "unix" || isURL && rest == "":
		return p, pipeline.Usage("containerd:// option address is %q; it takes the path of a socket, or unix://PATH", p.socket)
	case isURL:
		p.socket = rest
	}
	var err error
	if p.socket, err = filepath.Abs(p.socket); err != nil {
		return p, pipeline.Usage("containerd:// option address is %q, which is no path: %v", p.socket, err)
	}
	return p, nil
}
