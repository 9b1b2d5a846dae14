package proxy

import (
	"net/http"
	"time"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/access"
	"github.com/occystrap/occystrap/sidecar/proxy/keep"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
	"github.com/occystrap/occystrap/sidecar/proxy/push"
	"github.com/occystrap/occystrap/sidecar/proxy/route"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
	"github.com/occystrap/occystrap/sidecar/store"
)

// The spaces of the store for what is pushed; those of pull are its own.
const (
	pushSpace    = "push"
	stagingSpace = "staging"
)

// stagingAge is how long a manifest is answered as it was pushed.
const stagingAge = time.Hour

// pulls sets up what is read from upstreams.
func (g *generation) pulls(p *Proxy, keeper keep.Keeper) (err error) {
	c := g.config
	cfg := pull.Config{
		Space: func(name string) pull.Space {
			return p.store.Space(name, store.SpaceOptions{Volatile: true, Sparse: true})
		},
		Keeper: keeper, Rule: func(host, repository string) *rules.Rule { return g.rules.For(host + "/" + repository) },
		Parallel: c.Parallel, Runs: c.Concurrency, Cache: g.layers(), TempDir: p.temp, Now: c.Now, Watch: p.watch(),
	}
	for i, u := range c.Upstreams {
		up := pull.Upstream{
			Host: u.Host, Client: g.clients.upstreams[i], Address: u.Address, Login: g.clients.logins[i],
			Offline: c.Offline || u.Offline, Times: u.Fresh.or(c.Fresh),
		}
		cfg.Upstreams = append(cfg.Upstreams, up)
	}
	g.pull, err = pull.New(cfg)
	return err
}

// or are times with others where they are not given.
func (f Fresh) or(o Fresh) pull.Times {
	t := pull.Times(o)
	if f.TTL != 0 {
		t.TTL = f.TTL
	}
	if f.StaleWhile != 0 {
		t.StaleWhile = f.StaleWhile
	}
	if f.StaleError != 0 {
		t.StaleError = f.StaleError
	}
	return t
}

// pushes sets up what can be pushed. Where images stay here as they come, nothing
// stands between a client and the store.
func (g *generation) pushes(p *Proxy, keeper keep.Keeper) {
	c := g.config
	space := p.store.Space(pushSpace, store.SpaceOptions{})
	g.itself = space.Backend()
	if keeper == nil {
		plain := true
		for _, r := range g.rules.All() {
			plain = plain && r.Plain()
		}
		if plain {
			g.backend = orElse(g, counted(space.Backend(), p.meter), p.temp)
			return
		}
		keeper = keep.Store(space)
	}
	staging := p.store.Space(stagingSpace, store.SpaceOptions{Age: stagingAge, Volatile: true, Sparse: true})
	g.push = push.New(push.Config{
		Staging: staging.Backend(), Keeper: keeper, Rules: g.rules, Notes: staging, Cache: g.layers(),
		Concurrency: c.Concurrency, Parallel: c.Parallel, Retries: retries, TempDir: p.temp,
		Done: func(i push.Image) {
			p.pushedImage(i, c.Downstream.Host)
			g.learned(p)
		},
		Queue:  p.meter.Queue,
		Events: p.events,
	})
	g.backend = orElse(g, g.push.Backend(), p.temp)
}

// retries is how often a layer is sent again.
const retries = 3

// serve chains the handlers.
func (g *generation) serve(p *Proxy) {
	g.mirrored = map[string]*registry.Handler{}
	for _, host := range g.table.Upstreams() {
		g.mirrored[host] = registry.New(g.pull.Backend(host), registry.Options{Failed: p.failed})
	}
	s := &route.Switch{
		Table: g.table, Pushed: p.pushed, Mirrored: func(host string) *registry.Handler { return g.mirrored[host] },
		Permit: func(w http.ResponseWriter, r *http.Request, t route.Target) error {
			if isItself(r) {
				return nil
			}
			return g.guard.Permit(w, r, t)
		},
	}
	inner := p.meter.Handler(s)
	guarded := g.guard.Wrap(inner)
	g.handler = p.meter.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isItself(r) {
			inner.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	}))
}

// credentialed says whether a request would use a login of the proxy's.
func (g *generation) credentialed(t route.Target) bool {
	host := t.Upstream
	if t.Kind == route.Pushed {
		if g.clients.downstreamLogin {
			return true
		}
		host = t.Else.Upstream
	}
	for i, u := range g.config.Upstreams {
		if u.Host == host && host != "" {
			return g.clients.logins[i] != ""
		}
	}
	return false
}

// mayWatch says who may see figures: who has logged in, or is on this machine.
func mayWatch(r *http.Request) bool {
	i := access.From(r.Context())
	return i.Known() || isItself(r) || i.From.Addr().Unmap().IsLoopback() || !i.From.IsValid()
}
