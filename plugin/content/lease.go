package content

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"github.com/occystrap/occystrap/pipeline/process"
)

const (
	// ownerLabel is on our leases: which process took them.
	ownerLabel = "org.occystrap.owner"
	// leaseTime is longer than any run: what a lost machine has left behind is
	// collected after it.
	leaseTime = 24 * time.Hour
)

// takeLease removes the leases of runs that were killed, then takes one.
func (s *store) takeLease(ctx context.Context) error {
	ctx = namespaces.WithNamespace(ctx, s.namespace)
	manager := s.cli.LeasesService()
	have, err := manager.List(ctx, `labels."`+ownerLabel+`"`)
	if err != nil {
		return s.explain(ctx, "list leases", err)
	}
	for _, l := range have {
		if !process.Ended(l.Labels[ownerLabel]) {
			continue
		}
		if err := manager.Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			return s.explain(ctx, "remove the lease of a run that was killed", err)
		}
	}
	s.lease, err = manager.Create(ctx, leases.WithID("occystrap-"+rand.Text()),
		leases.WithExpiration(leaseTime), leases.WithLabel(ownerLabel, process.Name()))
	return s.explain(ctx, "take a lease", err)
}

// dropLease ends the lease: what no image reaches is then collected, with
// collect before it returns.
func (s *store) dropLease(ctx context.Context, collect bool) error {
	if s.lease.ID == "" {
		return nil
	}
	var opts []leases.DeleteOpt
	if collect {
		opts = append(opts, leases.SynchronousDelete)
	}
	err := s.cli.LeasesService().Delete(namespaces.WithNamespace(ctx, s.namespace), s.lease, opts...)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return s.explain(ctx, "give up the lease", err)
}
