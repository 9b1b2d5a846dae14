package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/layercache"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/access"
	"github.com/occystrap/occystrap/sidecar/proxy/keep"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
	"github.com/occystrap/occystrap/sidecar/proxy/push"
	"github.com/occystrap/occystrap/sidecar/proxy/route"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// A generation is the proxy by one state of the settings.
type generation struct {
	config   Config
	rules    *rules.Rules
	table    *route.Table
	guard    *access.Guard
	tls      *tls.Config // nil: plain HTTP
	clients  clients
	cache    *layercache.Cache // nil: push and pull remember for themselves
	push     *push.Push        // nil: what is pushed goes straight into the store
	pull     *pull.Pull
	backend  registry.Backend // of names that can be pushed
	itself   registry.Backend // for what the proxy asks itself: the store, and nobody else
	mirrored map[string]*registry.Handler
	handler  http.Handler
	requests sync.WaitGroup

	mu     sync.Mutex
	saving *time.Timer // nil: nothing waits to be saved
}

// belongs is the key of a request's generation in its context.
type belongs struct{}

// generation puts the parts together. Old is the generation that it follows, or
// nil.
func (p *Proxy) generation(ctx context.Context, c Config, old *generation) (g *generation, err error) {
	g = &generation{config: c}
	defer func() { //nolint:contextcheck // what was made is given up at once
		if err != nil {
			err = errors.Join(err, g.close())
			g = nil
		}
	}()
	c.Filter.TempDir = p.temp
	if c.Filter.Search == nil {
		c.Filter.Search = func(string) (filter.SearchResults, error) { return found{p.log}, nil }
	}
	if g.rules, err = rules.New(c.All, c.Rules, filter.Kinds(c.Filter)); err != nil {
		return g, err
	}
	if g.table, err = route.New(c.routes()); err != nil {
		return g, err
	}
	if err = g.admit(p, old); err != nil {
		return g, err
	}
	if err = g.remember(ctx, p, old); err != nil {
		return g, err
	}
	if err = g.clients.make(ctx, c, p.meter); err != nil {
		return g, err
	}
	var keeper keep.Keeper
	if c.Downstream.Host != "" {
		keeper = keep.Downstream(g.clients.downstream, c.Downstream.Host, c.Downstream.Prefix)
	}
	if err = g.pulls(p, keeper); err != nil { //nolint:contextcheck // what it does outlives who has set it up
		return g, err
	}
	g.pushes(p, keeper) //nolint:contextcheck // as above
	g.serve(p)
	return g, nil
}

// routes are the names that lead upstream.
func (c Config) routes() route.Config {
	r := route.Config{Default: c.Upstream}
	for _, u := range c.Upstreams {
		r.Upstreams = append(r.Upstreams, u.Host)
		if u.Local != "" {
			r.Prefixes = append(r.Prefixes, route.Prefix{Prefix: u.Local, Upstream: u.Host, Rewrite: u.Rewrite})
		}
		if u.Host == c.Upstream {
			r.DefaultPrefix = u.Prefix
		}
	}
	return r
}

// admit sets up who may do what. A guard whose settings are the old ones' stays: it
// knows tokens that it gave.
func (g *generation) admit(p *Proxy, old *generation) (err error) {
	a := g.config.Access
	if old != nil && reflect.DeepEqual(a, old.config.Access) && reflect.DeepEqual(g.config.Listening, old.config.Listening) {
		g.guard, g.tls = old.guard, old.tls
		return nil
	}
	if a.NewSecret && a.Secret != "" {
		if err := access.EnsureSecret(a.Secret); err != nil {
			return err
		}
	}
	g.guard, err = access.New(access.Config{
		Listen: g.config.Listening, Hosts: a.Hosts, Users: a.Users, Tokens: a.Tokens, Secret: a.Secret, Peers: a.Peers,
		Credentialed: func(t route.Target) bool { return p.current().credentialed(t) }, Log: p.log,
	})
	if err != nil || a.Cert == "" && a.Key == "" {
		if i := slices.IndexFunc(g.config.Listening, access.Beyond); err == nil && i >= 0 {
			p.log.Warn("logins and images are sent to other machines without TLS: set [proxy.tls], unless another server in front does it", "at", g.config.Listening[i].String())
		}
		return err
	}
	if a.Cert == "" || a.Key == "" {
		return errors.New("TLS takes a certificate and a key; one of them is missing")
	}
	g.tls, err = g.guard.TLS(a.Cert, a.Key)
	return err
}

// remember opens the layer cache, or takes over the one that is open.
func (g *generation) remember(ctx context.Context, p *Proxy, old *generation) (err error) {
	c := g.config
	switch {
	case c.LayerCache == "":
		return nil
	case old != nil && old.cache != nil && old.config.LayerCache == c.LayerCache:
		g.cache = old.cache
		return nil
	}
	var filters []string
	if len(c.Rules) == 0 { // as the Python tool wrote it, which knows one chain only
		filters = c.All.Filters
	}
	g.cache, err = layercache.Open(ctx, c.LayerCache, layercache.Config{
		Size: c.LayerCacheSize, Filters: filters, Warn: func(message string) { p.log.Warn(message) },
	})
	return err
}

// layers is the cache as pipeline takes it.
func (g *generation) layers() pipeline.Cache {
	if g.cache == nil {
		return nil
	}
	return g.cache
}

// saveEvery is how long what the layer cache has learned may be in memory only.
const saveEvery = 10 * time.Second

// learned saves the layer cache before long.
func (g *generation) learned(p *Proxy) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cache == nil || g.saving != nil {
		return
	}
	g.saving = time.AfterFunc(saveEvery, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.saving = nil
		if err := g.cache.Save(context.Background()); err != nil {
			p.log.Warn("what was learned of layers is not remembered", "error", err)
		}
	})
}

// save saves the layer cache for the last time.
func (g *generation) save(ctx context.Context) error {
	if g.cache == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.saving != nil {
		g.saving.Stop()
		g.saving = nil
	}
	return g.cache.Save(context.WithoutCancel(ctx))
}

// drain finishes what was begun.
func (g *generation) drain(ctx context.Context) error {
	var errs []error
	if g.push != nil {
		errs = append(errs, g.push.Drain(ctx))
	}
	if g.pull != nil {
		errs = append(errs, g.pull.Drain(ctx))
	}
	return errors.Join(append(errs, g.save(ctx))...)
}

// close ends what goes on.
func (g *generation) close() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	var errs []error
	if g.push != nil {
		if err := g.push.Drain(ended); !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		}
	}
	if g.pull != nil {
		errs = append(errs, g.pull.Close())
	}
	g.clients.close()
	return errors.Join(errs...)
}
