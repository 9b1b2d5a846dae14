package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
	"github.com/occystrap/occystrap/sidecar/proxy/meter"
)

// clients are the registries that the proxy talks to.
type clients struct {
	downstream *remote.Client // nil without one
	upstreams  []*remote.Client
	// logins are the users that upstreams know the proxy as; "" is nobody.
	logins []string
	// downstreamLogin says that downstream is read with a login.
	downstreamLogin bool
}

// lookUpTime bounds how long a credential helper may take when the proxy starts.
const lookUpTime = 30 * time.Second

// make makes the clients. A login that cannot be looked up in a store which the settings
// do not name is none: who needs it is told when it is refused.
func (cs *clients) make(ctx context.Context, c Config, m *meter.Meter) (err error) {
	if c.Downstream.Host != "" {
		login := c.Downstream.login(ctx, c.Log)
		if cs.downstream, err = c.Downstream.client(c, m, true, login); err != nil {
			return fmt.Errorf("downstream %s: %w", c.Downstream.Host, err)
		}
		cs.downstreamLogin = login != ""
	}
	for _, u := range c.Upstreams {
		login := u.login(ctx, c.Log)
		client, err := u.client(c, m, false, login)
		if err != nil {
			return fmt.Errorf("upstream %s: %w", u.Host, err)
		}
		cs.upstreams, cs.logins = append(cs.upstreams, client), append(cs.logins, login)
	}
	return nil
}

func (cs *clients) close() {
	if cs.downstream != nil {
		cs.downstream.Close()
	}
	for _, c := range cs.upstreams {
		c.Close()
	}
}

func (r Remote) client(c Config, m *meter.Meter, downstream bool, login string) (*remote.Client, error) {
	cfg := remote.Config{
		Source: r.keys(), Sink: r.keys(), Insecure: r.Insecure, SkipVerify: r.SkipVerify, CA: r.CA, Realms: r.Realms,
		UserAgent: c.Program, Compression: c.Compression, Recompress: c.Recompress,
		Around:  func(next http.RoundTripper) http.RoundTripper { return m.Transport(r.Host, downstream, next) },
		Retries: c.Retries, Backoff: c.Backoff, Stall: c.Stall,
	}
	if login == "" && c.Access.Secret != "" {
		cfg.Source = nil // a login that comes later would be lent to who does not know the secret
	}
	cfg.Allow = r.allow()
	return remote.NewClient(cfg)
}

// keys are the logins, of the host's name also where another address is asked.
func (r Remote) keys() credential.Keychain {
	if r.Keys == nil || r.Address == "" {
		return r.Keys
	}
	return renamed{r.Keys, r.Address, r.Host}
}

// renamed is a keychain in which a host goes by another name.
type renamed struct {
	credential.Keychain
	from, to string
}

func (k renamed) Lookup(ctx context.Context, host string) (credential.Credential, bool, error) {
	if host == k.from {
		host = k.to
	}
	return k.Keychain.Lookup(ctx, host)
}

// allow lets connections go to addresses of the internet, and to one that the settings
// name as a number. Of a private registry only those of a link, to which no redirect of
// it may lead, have to be named.
func (r Remote) allow() func(string, netip.Addr) bool {
	var named []string
	for _, host := range []string{r.Host, r.Address} {
		name := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
		if name == "localhost" || net.ParseIP(name) != nil {
			named = append(named, host)
		}
	}
	if r.Private {
		return remote.NoLinkLocal(named...)
	}
	return remote.PublicOnly(named...)
}

// unknownLogin is that of a file which cannot be read now.
const unknownLogin = "?"

// login is who a registry knows the proxy as; "" is nobody. A file of the settings that
// cannot be read is told, since it is a mistake of theirs as a rule.
func (r Remote) login(ctx context.Context, log *slog.Logger) string {
	if r.Keys == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	c, ok, err := r.Keys.Lookup(ctx, r.Host)
	if err != nil && !errors.Is(err, credential.ErrStore) {
		if log != nil {
			log.Warn("a login cannot be read", "host", r.Host, "error", err)
		}
		return unknownLogin // it may be read when it is needed
	}
	if err != nil || !ok {
		return ""
	}
	if c.Username == "" {
		return "token"
	}
	return c.Username
}
