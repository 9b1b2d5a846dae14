package content

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/containerd/containerd/v2/client"
	storing "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/go-digest"
)

const (
	// dialTimeout is ample for a socket of this machine.
	dialTimeout = 10 * time.Second
	// tidyTimeout bounds what is done after a run has ended: to delete a lease
	// may mean to collect all that it held.
	tidyTimeout = time.Minute
)

// A store is a namespace of containerd that answered. A lease makes the
// namespace, if it is not there: who reads takes none before an image is found.
type store struct {
	place
	cli   *client.Client
	lease leases.Lease // takeLease sets it
}

// connect reaches containerd. The caller closes the store.
func (p place) connect(ctx context.Context) (*store, error) {
	// The client dials when it is first used, and tells less of what went wrong.
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "unix", p.socket)
	if err != nil {
		return nil, p.unreachable(err)
	}
	if err := conn.Close(); err != nil {
		return nil, p.unreachable(err)
	}
	cli, err := client.New(p.socket, client.WithDefaultNamespace(p.namespace), client.WithTimeout(dialTimeout))
	if err != nil {
		return nil, p.unreachable(err)
	}
	return &store{place: p, cli: cli}, nil
}

// in is a context for requests in the namespace, under the lease if there is
// one.
func (s *store) in(ctx context.Context) context.Context {
	ctx = namespaces.WithNamespace(ctx, s.namespace)
	if s.lease.ID == "" {
		return ctx
	}
	return leases.WithLease(ctx, s.lease.ID)
}

func (s *store) blobs() storing.Store { return s.cli.ContentStore() }

// protect keeps a blob, and what its labels reach, until the store is closed.
func (s *store) protect(ctx context.Context, d digest.Digest) error {
	err := s.cli.LeasesService().AddResource(s.in(ctx), s.lease, leases.Resource{ID: d.String(), Type: "content"})
	return s.explain(ctx, "keep "+d.String(), err)
}

// close gives up the lease and the connection. With collect it waits until
// what nobody else holds is gone.
func (s *store) close(collect bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), tidyTimeout)
	defer cancel()
	return errors.Join(s.dropLease(ctx, collect), s.cli.Close())
}
