package sidecar

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/sidecar/proxy"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// proxySettings is the table [proxy].
type proxySettings struct {
	// Listen are addresses, where systemd passes no socket.
	Listen []string `toml:"listen"`
	// Idle is when a proxy that systemd started ends; "0s" is never.
	Idle string `toml:"idle"`
	// Hosts are names that clients call it by.
	Hosts []string `toml:"hosts"`

	// Downstream and Upstream are [user:token@]HOST[/PREFIX]; Upstream is for names
	// without a host.
	Downstream string `toml:"downstream"`
	Upstream   string `toml:"default-upstream"`
	// Credentials is a file with downstream's login.
	Credentials string `toml:"credentials"`

	Filters        []string `toml:"filters"`
	Attestations   string   `toml:"attestations"`
	Digest         string   `toml:"digest"`
	Concurrency    int      `toml:"concurrency"`
	Parallel       int      `toml:"parallel"`
	Compression    string   `toml:"compression"`
	Recompress     string   `toml:"recompress"`
	LayerCache     string   `toml:"layer-cache"`
	LayerCacheSize string   `toml:"layer-cache-size"`
	TempDir        string   `toml:"temp-dir"`
	Insecure       bool     `toml:"insecure"`
	CA             string   `toml:"ca"`
	Offline        bool     `toml:"offline"`

	TTL        string `toml:"ttl"`
	StaleWhile string `toml:"stale-while-revalidate"`
	StaleError string `toml:"stale-if-error"`

	Store     storeSettings      `toml:"store"`
	TLS       tlsSettings        `toml:"tls"`
	Access    accessSettings     `toml:"access"`
	Rules     []ruleSettings     `toml:"rule"`
	Upstreams []upstreamSettings `toml:"upstream"`
}

type storeSettings struct {
	Dir  string `toml:"dir"`
	High string `toml:"high"`
	Low  string `toml:"low"`
	Age  string `toml:"age"`
}

type tlsSettings struct {
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}

type accessSettings struct {
	Users  string   `toml:"users"`
	Tokens string   `toml:"tokens"`
	Secret string   `toml:"secret"`
	Peers  []string `toml:"peers"`
}

type ruleSettings struct {
	Match        string   `toml:"match"`
	Filters      []string `toml:"filters"`
	Attestations string   `toml:"attestations"`
	Digest       string   `toml:"digest"`
}

type upstreamSettings struct {
	Host        string   `toml:"host"`
	Address     string   `toml:"address"`
	Prefix      string   `toml:"prefix"`
	Rewrite     string   `toml:"rewrite"`
	Insecure    bool     `toml:"insecure"`
	CA          string   `toml:"ca"`
	Private     bool     `toml:"private"`
	Realms      []string `toml:"realms"`
	Credentials string   `toml:"credentials"`
	Offline     bool     `toml:"offline"`
	TTL         string   `toml:"ttl"`
	StaleWhile  string   `toml:"stale-while-revalidate"`
	StaleError  string   `toml:"stale-if-error"`
}

// config makes of the settings what package proxy takes. Getenv has the variables
// that hold logins, and $CREDENTIALS_DIRECTORY.
func (s *proxySettings) config(getenv func(string) string) (c proxy.Config, err error) {
	r := reader{credentials: getenv("CREDENTIALS_DIRECTORY")}
	c = proxy.Config{
		Concurrency: s.Concurrency, Parallel: s.Parallel,
		Compression: pipeline.Compression(s.Compression), Recompress: pipeline.Recompress(s.Recompress),
		LayerCache: s.LayerCache, LayerCacheSize: r.size("layer-cache-size", s.LayerCacheSize), TempDir: s.TempDir, Offline: s.Offline,
		Fresh: r.fresh("", s.TTL, s.StaleWhile, s.StaleError),
		Store: proxy.StoreConfig{
			Dir: s.Store.Dir, High: r.size("store.high", s.Store.High), Low: r.size("store.low", s.Store.Low), Age: r.age("store.age", s.Store.Age),
		},
		Access: proxy.Access{
			Hosts: s.Hosts, Users: s.Access.Users, Tokens: s.Access.Tokens, Cert: s.TLS.Cert, Key: s.TLS.Key,
			Secret: s.secret(getenv), NewSecret: s.Access.Secret == "",
		},
	}
	for _, name := range s.Access.Peers {
		id, err := userID(name)
		if err != nil {
			return c, fmt.Errorf("[proxy.access] peers: %w", err)
		}
		c.Access.Peers = append(c.Access.Peers, id)
	}
	for name, path := range map[string]*string{
		"store.dir": &c.Store.Dir, "temp-dir": &c.TempDir, "layer-cache": &c.LayerCache, "tls.cert": &c.Access.Cert, "tls.key": &c.Access.Key,
		"access.users": &c.Access.Users, "access.tokens": &c.Access.Tokens, "access.secret": &c.Access.Secret,
	} {
		*path = r.path(name, *path)
	}
	s.check(&r)
	c.All = rules.Spec{Filters: s.Filters, Attestations: s.Attestations, Digest: s.Digest}
	for _, rule := range s.Rules {
		c.Rules = append(c.Rules, rules.Spec(rule))
	}
	return c, errors.Join(r.err, s.remotes(&c, getenv))
}

// remotes reads the registries that the proxy is a client of.
func (s *proxySettings) remotes(c *proxy.Config, getenv func(string) string) error {
	var err error
	r := reader{credentials: getenv("CREDENTIALS_DIRECTORY")}
	keys := proxy.Keys{Getenv: getenv}
	if s.Downstream != "" {
		if c.Downstream, err = proxy.ParseRemote(s.Downstream, keys.Downstream(r.path("credentials", s.Credentials))); err != nil {
			return fmt.Errorf("[proxy] downstream: %w", err)
		}
		c.Downstream.Insecure, c.Downstream.CA, c.Downstream.Private = s.Insecure, r.path("ca", s.CA), true // it is where our own images go
	}
	for i, u := range s.Upstreams {
		at := fmt.Sprintf("[[proxy.upstream]] %s", cmp.Or(u.Host, fmt.Sprint("number ", i+1)))
		remote, err := proxy.ParseRemote(u.Host, keys.Upstream(r.path(at+": credentials", u.Credentials)))
		if err != nil {
			return fmt.Errorf("%s: host: %w", at, err)
		}
		if u.Rewrite != "" && u.Prefix == "" {
			return fmt.Errorf("%s: rewrite stands in the place of a prefix, and there is none; give the prefix, or write the path behind the host, as %s/%s", at, u.Host, u.Rewrite)
		}
		remote.Address, remote.Insecure, remote.CA, remote.Private, remote.Realms = u.Address, u.Insecure, r.path(at+": ca", u.CA), u.Private, u.Realms
		c.Upstreams = append(c.Upstreams, proxy.Upstream{
			Remote: remote, Local: u.Prefix, Rewrite: u.Rewrite, Offline: u.Offline, Fresh: r.fresh(at, u.TTL, u.StaleWhile, u.StaleError),
		})
	}
	if s.Upstream != "" {
		if err := c.AddDefault(s.Upstream, keys); err != nil {
			return fmt.Errorf("[proxy] default-upstream: %w", err)
		}
	}
	return r.err
}

// check finds values that nobody would take.
func (s *proxySettings) check(r *reader) {
	switch pipeline.Recompress(s.Recompress) {
	case "", pipeline.RecompressAuto, pipeline.RecompressTranscode, pipeline.RecompressCanonical:
	default:
		r.fail("recompress", s.Recompress, "auto, transcode or canonical")
	}
	switch pipeline.Compression(s.Compression) {
	case "", pipeline.Gzip, pipeline.Zstd:
	default:
		r.fail("compression", s.Compression, "gzip or zstd")
	}
	for name, n := range map[string]int{"concurrency": s.Concurrency, "parallel": s.Parallel} {
		if n < 0 {
			r.fail(name, strconv.Itoa(n), "a whole number, 1 or more")
		}
	}
	low, high := r.size("store.low", s.Store.Low), r.size("store.high", s.Store.High)
	switch {
	case low > 0 && high == 0:
		r.fail("store.low", s.Store.Low, "effect beside store.high only, which starts clearing up")
	case low > high:
		r.fail("store.low", s.Store.Low, "no more bytes than store.high")
	}
}

// noSecret is the value of access.secret that demands none.
const noSecret = "none"

// secret is the file of this installation's secret: that of the settings, or one in
// the folder that a unit gives the proxy; "" for none.
func (s *proxySettings) secret(getenv func(string) string) string {
	dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":")
	switch {
	case s.Access.Secret == noSecret, s.Access.Secret == "" && !filepath.IsAbs(dir):
		return ""
	case s.Access.Secret != "":
		return s.Access.Secret
	}
	return filepath.Join(dir, "secret")
}

// A reader reads values that TOML has no type for, and keeps the first error.
type reader struct {
	credentials string // $CREDENTIALS_DIRECTORY
	err         error
}

func (r *reader) fail(name, value, takes string) {
	if !strings.HasPrefix(name, "[") {
		name = "[proxy] " + name
	}
	if r.err == nil {
		r.err = fmt.Errorf("%s is %q; it takes %s", name, value, takes)
	}
}

// size reads bytes as "50GB"; as docker does, a unit is 1024 times the one before.
func (r *reader) size(name, value string) int64 {
	if value == "" {
		return 0
	}
	n, err := units.RAMInBytes(value)
	if err != nil || n <= 0 {
		r.fail(name, value, `bytes as "500MB" or "50GB"`)
	}
	return n
}

// time reads a time; "0s" is a negative one, which stands for never.
func (r *reader) time(name, value string) time.Duration {
	if value == "" {
		return 0
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		r.fail(name, value, `a time as "90s" or "12h", or "0s" for none`)
	}
	return cmp.Or(d, -1)
}

// age reads how long something may be unused: days and weeks too.
func (r *reader) age(name, value string) time.Duration {
	const day = 24 * time.Hour
	n := 0
	for unit, times := range map[string]time.Duration{"d": day, "w": 7 * day} {
		if _, err := fmt.Sscanf(value, "%d"+unit, &n); err == nil && value == fmt.Sprint(n, unit) && n > 0 {
			return time.Duration(n) * times
		}
	}
	if d, err := time.ParseDuration(value); value != "" && (err != nil || d <= 0) {
		r.fail(name, value, `a time as "12h", "30d" or "8w"`)
	} else if value != "" {
		return d
	}
	return 0
}

func (r *reader) fresh(at, ttl, while, onError string) proxy.Fresh {
	if at != "" {
		at += ": "
	}
	return proxy.Fresh{TTL: r.time(at+"ttl", ttl), StaleWhile: r.time(at+"stale-while-revalidate", while), StaleError: r.time(at+"stale-if-error", onError)}
}

// path reads the path of a file. A bare name is one of the credentials that systemd
// has loaded (LoadCredential=).
func (r *reader) path(name, value string) string {
	switch {
	case value == "" || filepath.IsAbs(value):
		return value
	case r.credentials != "" && filepath.Base(value) == value:
		return filepath.Join(r.credentials, value)
	}
	r.fail(name, value, "a whole path, like /srv/occystrap, or the name of a credential that the unit loads")
	return value
}
