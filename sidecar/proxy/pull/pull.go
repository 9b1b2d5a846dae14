package pull

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
	"github.com/occystrap/occystrap/sidecar/proxy/keep"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// A Space is a part of the store that no other name leads into; *store.Space is one.
type Space interface {
	// Backend has the manifests and blobs. Its uploads should open as an *os.File that
	// sees what is written later: clients read a blob from it while it arrives.
	Backend() registry.Backend
	// Fact returns a note that SetFact left, else pipeline.ErrNotFound. A nil value
	// removes it.
	Fact(ctx context.Context, repository, key string) ([]byte, error)
	SetFact(ctx context.Context, repository, key string, value []byte) error
}

// Config is what a Pull works with. Upstreams and Space are needed.
type Config struct {
	// Upstreams are the registries that are asked, and no other.
	Upstreams []Upstream
	// Space opens a part of the store, the same one for the same name. It takes manifests
	// whose blobs are not there yet (Sparse), and need not wait for the disk (Volatile):
	// what is lost is fetched again.
	Space func(name string) Space
	// Keeper is the downstream, asked before an upstream, and given what came from one,
	// as HOST/REPOSITORY. Nil: there is none.
	Keeper keep.Keeper
	// Rule says what happens to the images of an upstream's repository; nil, or a nil
	// rule, is nothing. Its answer does not change.
	Rule func(host, repository string) *rules.Rule
	// Parallel is how many layers of an image are filtered at once, Runs how many images
	// are; 0 stands for 4.
	Parallel, Runs int
	// Cache knows what layers became before. Nil: nothing does.
	Cache pipeline.Cache
	// TempDir holds what filters put aside; "" is the system's.
	TempDir string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Watch is told what happens. Its zero value tells nobody.
	Watch Watch
}

// An Upstream is a registry that is mirrored.
type Upstream struct {
	// Host names it, as in the names of its images ("docker.io").
	Host string
	// Client talks to it.
	Client *remote.Client
	// Address is the host that is really asked; "" is Host itself.
	Address string
	// Login tells the logins of one host apart; "" is none. What came by one login is
	// not seen by another. It is no secret: the name of the user, say.
	Login string
	// Times say how long its tags are believed.
	Times Times
	// Offline: it is never asked.
	Offline bool
}

// Watch is told what happens, at once and often: it must not block. What is nil is
// not told.
type Watch struct {
	// Looked up: kind is "manifest" or "blob"; hit says that nobody had to be asked. Size
	// is that of a blob that was here; 0 where it is not known.
	Looked func(host, kind string, hit bool, size int64)
	// Received are bytes of blobs and manifests from a side, "upstream" or "downstream".
	Received func(host, side string, n int64)
	// Failed is a question to a side that was not answered.
	Failed func(host, side string, err error)
	// Warn is for what the operator should know; err has no secrets.
	Warn func(host, message string, err error)
	// Pulled is an image that came, or did not: one that nobody filters when its manifest is
	// here, one that the filters made when it is whole, one that they refuse.
	Pulled func(Image)
}

const defaultRuns = 4

// A Pull answers for images of other registries. It may be used by many requests at
// once.
type Pull struct {
	c     Config
	ups   map[string]*upstream
	slots chan struct{} // of runs

	ctx  context.Context //nolint:containedctx // the life of what clients do not wait for
	stop context.CancelCauseFunc

	mu     sync.Mutex
	jobs   sync.WaitGroup // what goes on when a client has its answer
	flying sync.WaitGroup // flights, and what is done once for many clients
	closed bool
	ended  bool
}

var errClosed = errors.New("the proxy ends")

// New returns a Pull over its upstreams. Two of one host are an error.
func New(c Config) (*Pull, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Runs <= 0 {
		c.Runs = defaultRuns
	}
	p := &Pull{c: c, ups: map[string]*upstream{}, slots: make(chan struct{}, c.Runs)}
	p.ctx, p.stop = context.WithCancelCause(context.Background())
	for _, u := range c.Upstreams {
		host := Host(u.Host)
		if p.ups[host] != nil {
			return nil, fmt.Errorf("upstream %s is configured twice", host)
		}
		u.Host = host
		made, err := newUpstream(p, u)
		if err != nil {
			return nil, err
		}
		p.ups[host] = made
	}
	return p, nil
}

// Host is the one name of a registry's host: Docker Hub has several.
func Host(name string) string {
	switch name = strings.ToLower(name); name {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return name
}

// Backend reads the repositories of an upstream, which are named without its host.
// One that is not configured has none.
func (p *Pull) Backend(host string) registry.Backend {
	u := p.ups[Host(host)]
	if u == nil {
		return registry.Backend{Blobs: nothing{}, Manifests: nothingManifests{}, Tags: nothingTags{}, Referrers: nothingReferrers{}}
	}
	return registry.Backend{Blobs: &blobs{u}, Manifests: &manifests{u}, Tags: &tags{u}, Referrers: &referrers{u}}
}

// Hosts are the upstreams that are configured.
func (p *Pull) Hosts() []string {
	var out []string
	for host := range p.ups {
		out = append(out, host)
	}
	return out
}

// background runs something that no client waits for; Drain waits for it. It is not
// run any more once the Pull was drained.
func (p *Pull) background(job func(ctx context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.jobs.Add(1)
	go func() {
		defer p.jobs.Done()
		job(p.ctx)
	}()
	return true
}

// fly begins a flight, or what else outlives its client, for as long as the Pull lives;
// done ends it.
func (p *Pull) fly() (done func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil, false
	}
	p.flying.Add(1)
	return p.flying.Done, true
}

// Drain waits for what goes on in the background, such as images on their way
// downstream, and begins nothing more. It returns early with the context's error.
func (p *Pull) Drain(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.jobs.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends everything at once.
func (p *Pull) Close() error {
	p.mu.Lock()
	p.closed, p.ended = true, true
	p.mu.Unlock()
	p.stop(errClosed)
	p.jobs.Wait()
	p.flying.Wait()
	return nil
}
