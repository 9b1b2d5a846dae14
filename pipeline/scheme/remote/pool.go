package remote

import (
	"strings"
	"sync"
	"time"

	"github.com/occystrap/occystrap/pipeline/credential"
)

// A Client is what the repositories of any number of registries share for as long
// as a program runs: connections, logins, tokens, and what each registry still
// takes. It may be used by many goroutines at once.
//
// A registry that answers that it had too many requests is left alone for as long
// as it asks; meanwhile whoever wants something of it gets a *StatusError of 429
// at once.
type Client struct {
	cfg       Config
	transport transport
	gate      *gate

	mu    sync.Mutex
	sites map[string]*site
	ends  map[endKey]*client
}

// An endKey is one repository, for one use.
type endKey struct {
	host, repository string
	push             bool
}

// maxEnds bounds how many repositories' tokens are kept, and maxSites the
// registries: names come from clients.
const maxEnds, maxSites = 1024, 1024

// poolWait is the default of Config.MaxWait in a Client: somebody waits for each
// answer, and may have others to ask.
const poolWait = 10 * time.Second

// NewClient makes a client. Reading uses the logins of cfg.Source, writing those
// of cfg.Sink.
func NewClient(cfg Config) (*Client, error) {
	cfg = cfg.withLimiter().withDefaults()
	if cfg.MaxWait == 0 {
		cfg.MaxWait = poolWait
	}
	t, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, transport: t, gate: newGate(cfg.Workers), sites: map[string]*site{}, ends: map[endKey]*client{}}, nil
}

// Close gives up the connections that are idle.
func (c *Client) Close() { c.transport.close() }

// Budget is what a registry has told of how many requests it takes.
func (c *Client) Budget(host string) Budget {
	return c.site(canonicalHost(host)).budget.get()
}

// site is what is known of a registry.
func (c *Client) site(host string) *site {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sites[host]
	if s == nil {
		if len(c.sites) >= maxSites {
			clear(c.sites) // they are learnt anew
		}
		s = newSite(c.cfg)
		c.sites[host] = s
	}
	return s
}

// end is the one client of a repository for reading, or for writing.
func (c *Client) end(ref Reference, push bool) *client {
	key := endKey{ref.Host, ref.Repository, push}
	s := c.site(ref.Host)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.ends[key]; known != nil {
		return known
	}
	if len(c.ends) >= maxEnds {
		clear(c.ends) // their tokens are fetched anew
	}
	e := &end{ref: ref, cfg: c.cfg, keys: c.keys(push), gate: c.gate, site: s, transport: transport{c.transport.RoundTripper, func() {}}}
	want := pullScope
	if push {
		want = pushScope
	}
	made := e.client("a login in the configuration", want)
	made.holds = true
	c.ends[key] = made
	return made
}

func (c *Client) keys(push bool) credential.Keychain {
	if push {
		return c.cfg.Sink
	}
	return c.cfg.Source
}

// canonicalHost is the one name of a registry that has several.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "index." + hubHost, hubAPI:
		return hubHost
	}
	return host
}
