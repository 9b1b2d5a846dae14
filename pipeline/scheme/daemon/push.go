package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// pushLane leads out of every daemon that can reach our loopback: it is asked to
// push to a registry of ours, which is there for this one run.
//
//	desk (127.0.0.1:PORT, one login for each errand)
//	 ├─ probe   a stand-in is pushed: the daemon does reach us, and nobody else
//	 ├─ stored  containerd store: one push for the manifests, one for each blob that is read
//	 └─ inbox   other stores: one push of all, into temporary files
type pushLane struct{}

var _ Lane = pushLane{}

// Name is "push".
func (pushLane) Name() string { return LanePush }

// Fits where the daemon reaches our loopback, as far as can be told: before it is
// asked for an image, it has to show that it does.
func (pushLane) Fits(_ context.Context, _ pipeline.Side, p *Place) (string, error) {
	if p.Store == StoreUnknown {
		return "", p.storeErr
	}
	if err := p.LoopbackHere(); err == nil {
		return "the daemon pushes to us", nil
	} else if p.Forward == nil {
		return "", err
	}
	return "the daemon pushes to us, through " + p.Host, nil
}

// Source has the images of t pushed.
func (pushLane) Source(t Target) pipeline.Source { return &pushSource{t} }

// Sink is nil: the lane leads out only.
func (pushLane) Sink(Target) pipeline.Sink { return nil }

// A pushSource reads images that a daemon pushes to us.
type pushSource struct{ target Target }

var _ pipeline.Source = (*pushSource)(nil)

// Open finds the images, and begins to have them pushed. The context must live as
// long as the graph.
func (s *pushSource) Open(ctx context.Context, q pipeline.Query) (pipeline.Graph, error) {
	e, err := s.target.Place.engine()
	if err != nil {
		return nil, err
	}
	p := &pushing{target: s.target, events: q.Events, limits: q.Limits.WithDefaults(), e: e}
	p.ctx, p.stop = context.WithCancelCause(ctx)
	g, err := p.open(ctx, q)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return g, nil
}

// pushing is what an open graph of the lane stands on.
type pushing struct {
	target  Target
	events  pipeline.Events
	limits  pipeline.Limits
	e       *engine
	desk    *desk
	loan    *loan
	images  []pushed
	ctx     context.Context //nolint:containedctx // ends what the graph has begun
	stop    context.CancelCauseFunc
	closers []func() error // in the order in which they were opened
}

// pushed is an image that is asked for.
type pushed struct {
	ref   Reference
	found client.ImageInspectResult
	name  string   // the temporary one
	names []string // what the graph calls it
}

func (p *pushing) open(ctx context.Context, q pipeline.Query) (_ pipeline.Graph, err error) {
	cli := p.e.cli
	for _, ref := range p.target.Images {
		found, err := cli.ImageInspect(ctx, ref.Ask)
		if err != nil {
			return nil, explain(ctx, cli, "inspect image "+ref.Ask, err)
		}
		p.images = append(p.images, pushed{ref: ref, found: found, names: ref.names(found.ID, found.RepoTags)})
	}
	if q.Brief && !p.e.indexes && len(p.images) == 1 { // nothing short of the whole image would tell more
		g, err := newBrief(ctx, cli, p.images[0].ref.Ask, p.images[0].found)
		if err != nil {
			return nil, err
		}
		g.manifest.Names = p.images[0].names
		return &pushGraph{g, p}, nil
	}
	if err := p.listen(ctx); err != nil {
		return nil, unlessEnded(ctx, err)
	}
	if err := p.lend(ctx); err != nil {
		return nil, unlessEnded(ctx, err)
	}
	if len(p.images) > 1 {
		q.Capacity.OneName = false // they were asked for
	}
	if p.e.indexes {
		return p.stored(ctx, q)
	}
	return p.inbox(q), nil
}

// listen opens the desk, where the daemon can reach it.
func (p *pushing) listen(ctx context.Context) (err error) {
	if p.desk, err = openDesk(ctx, ""); err != nil {
		return err
	}
	p.closers = append(p.closers, p.desk.Close)
	if p.target.Place.LoopbackHere() == nil {
		return nil
	}
	addr, closing, err := p.target.Place.Forward(ctx, p.desk.address)
	if err != nil {
		return fmt.Errorf("lead the daemon at %s to us: %w", p.target.Place.Host, err)
	}
	p.closers = append(p.closers, closing)
	p.desk.forwarded(addr)
	return nil
}

// unlessEnded marks an error, before which no layer moved, as a reason for another
// lane.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return Unfit(err)
}

// lend gives the images names at our desk, once it is sure that the daemon
// reaches it.
func (p *pushing) lend(ctx context.Context) (err error) {
	if p.loan, err = p.e.borrow(ctx, p.desk.address, p.events); err != nil {
		return err
	}
	p.closers = append(p.closers, func() error {
		p.loan.giveBack(ctx)
		return nil
	})
	p.loan.tidy(ctx)
	if err := p.probe(ctx); err != nil {
		return err
	}
	for i, image := range p.images {
		if p.images[i].name, err = p.loan.take(ctx, image.ref.Ask); err != nil {
			return err
		}
	}
	return nil
}

// probe has the stand-in pushed. A daemon in another network namespace, or one
// whose pushes a mirror takes (hosts.toml), or a port that somebody else has by
// now: no manifest comes to us, and no image of the user's goes anywhere.
func (p *pushing) probe(ctx context.Context) error {
	came, err := p.take(ctx, p.loan.name(0), nil, registry.InboxOptions{TempDir: p.target.TempDir})
	if came != nil {
		return came.Close()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("the daemon at %s does not reach us at %s (it may have a network of its own, or a mirror of its hosts.toml takes its pushes; what works then is docker:// with ?lane=save): %w",
		p.target.Place.Host, p.desk.address, err)
}

// take has a name pushed into an Inbox, and returns it once a manifest has come
// under the name; the push is then refused the rest. Otherwise it returns what
// the daemon complains of.
func (p *pushing) take(ctx context.Context, name string, platform *ocispec.Platform, o registry.InboxOptions) (*registry.Inbox, error) {
	l := p.desk.newLogin()
	defer l.end()
	var came atomic.Bool
	o.Received = func(_ context.Context, _ registry.Manifest, tags []string) error {
		if len(tags) == 0 {
			return nil
		}
		came.Store(true)
		l.end()
		return errEnough
	}
	box := registry.NewInbox(o)
	l.opens(p.handler(box.Backend()))
	err := p.e.push(ctx, name, l, platform)
	if came.Load() {
		return box, nil
	}
	if err == nil {
		err = errors.New("the daemon says that it has pushed, and no manifest came")
	}
	return nil, errors.Join(err, box.Close())
}

// handler serves a backend to the daemon, and tells what goes wrong at our end.
func (p *pushing) handler(b registry.Backend) http.Handler {
	return registry.New(b, registry.Options{Failed: func(r *http.Request, err error) {
		p.events.Detail(fmt.Sprintf("answer the daemon's %s %s: %v", r.Method, r.URL.Path, err))
	}})
}

// errGraphClosed ends what a graph has begun.
var errGraphClosed = errors.New("the image is not read any more")

// PushSchemeName is the scheme of images that a daemon is to push to us.
const PushSchemeName = "dockerpush"

// PushScheme is dockerpush://NAME[:TAG|@DIGEST]: what docker:// with ?lane=push
// is.
func PushScheme(cfg Config) pipeline.Scheme {
	scheme := Scheme(cfg)
	scheme.Name, scheme.Sink = PushSchemeName, nil
	scheme.Options = slices.DeleteFunc(scheme.Options, func(o pipeline.Option) bool { return !o.Source || o.Name == "lane" })
	for i := range scheme.Options {
		scheme.Options[i].Sink = false
	}
	source := scheme.Source
	scheme.Source = func(loc pipeline.Location) (pipeline.Source, error) {
		loc.Query = maps.Clone(loc.Query)
		if loc.Query == nil {
			loc.Query = map[string]string{}
		}
		loc.Query["lane"] = LanePush
		return source(loc)
	}
	return scheme
}

// Close ends all pushes, takes the temporary names away, and closes the desk.
func (p *pushing) Close() error {
	p.stop(errGraphClosed)
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	p.closers = nil
	return errors.Join(errs...)
}

// pushGraph is a graph that ends its pushes when it is closed.
type pushGraph struct {
	pipeline.Graph
	p *pushing
}

// Close closes both.
func (g *pushGraph) Close() error { return errors.Join(g.Graph.Close(), g.p.Close()) }
