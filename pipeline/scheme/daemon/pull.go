package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// pullLane leads into every Docker that can reach our loopback, or a port that ssh
// leads there: it is asked to pull from a registry of ours, which is there for
// this one run.
//
//	Run ─▶ Shelf: layers that can be read again are lent, the rest is put aside
//	Publish: the daemon pulls; what it has it does not ask for, and nobody reads it
//	         what its store lacks all the same is loaded
type pullLane struct{}

var _ Lane = pullLane{}

// Name is "pull".
func (pullLane) Name() string { return LanePull }

// Fits where the daemon reaches our loopback, as far as can be told.
func (pullLane) Fits(_ context.Context, _ pipeline.Side, p *Place) (string, error) {
	switch {
	case p.Store == StoreUnknown:
		return "", p.storeErr
	case p.Podman():
		return "", errors.New("Podman does not pull by plain HTTP through this API: it is sent an archive")
	}
	if err := p.LoopbackHere(); err == nil {
		return "the daemon pulls from us what it lacks", nil
	} else if p.Forward == nil {
		return "", err
	}
	return "the daemon pulls from us what it lacks, through " + p.Host, nil
}

// Source is nil: the lane leads in only.
func (pullLane) Source(Target) pipeline.Source { return nil }

// Sink has the daemon of t pull.
func (pullLane) Sink(t Target) pipeline.Sink {
	return &pullSink{reception: newReception(t), shelf: registry.NewShelf(t.TempDir)}
}

// A pullSink is what a daemon pulls from. Images get their names when all of
// them are there, and complete.
type pullSink struct {
	reception
	shelf *registry.Shelf

	desk     *desk
	closers  []func() error // in the order in which they were opened
	prepared bool
	sent     []string // names that the daemon has pulled by
	forecast *forecast
}

var (
	_ pipeline.Sink    = (*pullSink)(nil)
	_ pipeline.Limited = (*pullSink)(nil)
	_ pipeline.Fetcher = (*pullSink)(nil)

	_ pipeline.Foreseer = (*pullSink)(nil)
)

// Capacity opens the desk and sees whether the daemon comes to it; a daemon that
// does not is Unfit.
func (s *pullSink) Capacity(ctx context.Context) (pipeline.Capacity, error) {
	if s.forecast != nil {
		c, err := s.reception.Capacity(ctx)
		c.Chains = true
		return c, err
	}
	if !s.prepared {
		if err := s.open(ctx); err != nil {
			return pipeline.Capacity{}, unlessEnded(ctx, err)
		}
		s.prepared = true
	}
	return s.reception.Capacity(ctx)
}

func (s *pullSink) open(ctx context.Context) (err error) {
	if s.desk, err = openDesk(ctx, ""); err != nil {
		return err
	}
	s.closers = append(s.closers, s.desk.Close)
	if s.target.Place.LoopbackHere() != nil {
		addr, closing, err := s.target.Place.Forward(ctx, s.desk.address)
		if err != nil {
			return fmt.Errorf("lead the daemon at %s to us: %w", s.target.Place.Host, err)
		}
		s.closers = append(s.closers, closing)
		s.desk.forwarded(addr)
	}
	if err := s.probe(ctx); err != nil {
		return err
	}
	s.engine.tidyPulls(ctx, s.target.Events)
	return nil
}

// probe has the daemon ask our desk for a manifest that nobody else could know
// of. A daemon in another network namespace does not come.
func (s *pullSink) probe(ctx context.Context) error {
	tag := "probe-" + strings.ToLower(rand.Text())
	var came atomic.Bool
	err := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/manifests/"+tag) {
			came.Store(true)
		}
		w.WriteHeader(http.StatusNotFound)
	}), func(auth string) error {
		_, err := s.engine.cli.DistributionInspect(ctx, s.desk.address+pullPath+":"+tag, client.DistributionInspectOptions{EncodedRegistryAuth: auth})
		return err
	})
	if came.Load() {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("the daemon at %s does not reach us at %s (it may have a network of its own): %w",
		s.target.Place.Host, s.desk.address, err)
}

// serve lets the daemon in for as long as do runs.
func (s *pullSink) serve(h http.Handler, do func(auth string) error) error {
	l := s.desk.newLogin()
	auth, err := l.auth()
	if err != nil {
		return err
	}
	l.opens(h)
	defer l.end()
	return do(auth)
}

// Plan lends every layer that can be read again, and takes the others as they
// come, but for an old graph driver, which cannot read zstd.
func (s *pullSink) Plan(ctx context.Context, l pipeline.Layer) (pipeline.Plan, error) {
	plan := pipeline.Plan{Encoding: pipeline.Encoding{Recompress: s.target.Recompress}}
	if !s.target.Place.Knows(apiZstd) {
		switch pipeline.LayerCompression(l.Blob.MediaType) {
		case pipeline.Plain, pipeline.Gzip:
		default:
			return pipeline.Plan{Encoding: pipeline.Encoding{Compression: pipeline.Gzip}}, nil
		}
	}
	if l.Open == nil || l.Absent || l.Foreign != "" || l.Blob.Digest == "" {
		return plan, nil
	}
	if s.forecast != nil {
		plan.Held = s.forecast.holds(ctx, s.engine, s.target.Images, l)
		return plan, nil
	}
	s.shelf.Lend(l)
	plan.Held = true
	return plan, nil
}

// Layer puts a layer aside.
func (s *pullSink) Layer(context.Context, int, pipeline.Layer) (pipeline.LayerWriter, error) {
	return s.shelf.Receive()
}

// Fetched is how much of a lent layer was read.
func (s *pullSink) Fetched(layer digest.Digest) int64 { return s.shelf.Read(layer) }

// Commit keeps the manifest.
func (s *pullSink) Commit(_ context.Context, m pipeline.Manifest) error { return s.take(m) }

// Publish has the images pulled, completes them, and gives the names.
func (s *pullSink) Publish(ctx context.Context) error {
	chosen, arrivals, err := s.choose(ctx)
	if err != nil {
		return err
	}
	for _, m := range chosen {
		if err := s.shelf.Put(m); err != nil {
			return err
		}
	}
	for _, a := range arrivals {
		if a.had && s.engine.check(ctx, a) == nil {
			continue // it needs no more than a name
		}
		if len(a.names) == 0 {
			continue // it would go with the temporary name: it is loaded
		}
		if err := s.pull(ctx, a); err != nil {
			return err
		}
	}
	if err := s.complete(ctx, chosen); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	if err := s.name(ctx); err != nil {
		return err
	}
	return s.forget(ctx)
}

// Close takes away what was not published.
func (s *pullSink) Close() error {
	err := s.forget(context.Background())
	err = errors.Join(err, s.tidy())
	for i := len(s.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(err, s.shelf.Close())
}
