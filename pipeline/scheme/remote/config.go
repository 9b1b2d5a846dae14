package remote

import (
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
)

// Config is how registries are talked to. The zero value works: anonymous, by
// HTTPS, with three retries. Options in a URI win over it.
type Config struct {
	// Source and Sink find the logins for either end; nil is anonymous.
	Source, Sink credential.Keychain
	// Insecure is plain HTTP. Without it a loopback host that does not answer
	// HTTPS is spoken to in plain HTTP too, as Docker does.
	Insecure bool
	// CA is a PEM file of certificate authorities that are trusted besides the
	// system's and those of SSL_CERT_FILE, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE.
	CA string
	// SkipVerify accepts any certificate.
	SkipVerify bool
	// Compression is how the sink wants layers; "" leaves compressed layers as
	// they come, and compresses plain ones with gzip.
	Compression pipeline.Compression
	// Recompress is how the sink wants changed layers to be compressed.
	Recompress pipeline.Recompress
	// Workers bounds the connections of one end that move bytes at once; 0 is
	// no bound.
	Workers int
	// Retries is how often a request, or a blob's download, is tried again; 0
	// stands for 3, a negative number for none.
	Retries int
	// Backoff is the wait before the first retry, doubled for each one after; 0
	// stands for a second.
	Backoff time.Duration
	// Stall is how long a connection may move no byte; 0 stands for a minute.
	Stall time.Duration
	// RateLimit is in bytes per second, over all bodies of all ends that a
	// Scheme opens; 0 is none.
	RateLimit int64
	// Limiter takes the place of RateLimit, so that several users share one.
	Limiter *rate.Limiter
	// UserAgent names the program to registries; "" stands for "occystrap".
	UserAgent string
	// Realms are hosts of token servers that logins may be sent to though they
	// do not belong to the registry's domain.
	Realms []string
	// Allow says whether a connection may be made to an address, when a name has been
	// resolved and before a packet is sent. Host is the host and port that was asked
	// for, of a registry, a token server or the target of a redirect. Nil allows all.
	// Addresses of an HTTP proxy from the environment are not asked for.
	Allow func(host string, ip netip.Addr) bool
	// MaxWait bounds what a server may ask us to wait before a retry; what asks for
	// longer fails at once. 0 waits a minute at most, whatever was asked for; in a Client
	// it stands for ten seconds.
	MaxWait time.Duration
	// Around is put around the connections, as to count what goes through them; nil
	// is nothing.
	Around func(http.RoundTripper) http.RoundTripper
	// Transport replaces the connections of our own making (for tests); CA,
	// SkipVerify and the proxy variables do not count then.
	Transport http.RoundTripper
	// Events receives a line per request, free of secrets, for --verbose.
	Events pipeline.Events
}

const (
	defaultRetries   = 3
	defaultBackoff   = time.Second
	defaultStall     = time.Minute
	defaultUserAgent = "occystrap"
	// maxBurst is what may pass at once when a rate limit is on: a tenth of a
	// second's worth, but not less than a network packet or two.
	maxBurst, minBurst = 1 << 20, 4 << 10
)

// withDefaults fills in what the zero value stands for.
func (c Config) withDefaults() Config {
	switch {
	case c.Retries == 0:
		c.Retries = defaultRetries
	case c.Retries < 0:
		c.Retries = 0
	}
	if c.Backoff == 0 {
		c.Backoff = defaultBackoff
	}
	if c.Stall == 0 {
		c.Stall = defaultStall
	}
	if c.UserAgent == "" {
		c.UserAgent = defaultUserAgent
	}
	return c
}

// withLimiter makes the one limiter that all ends of a Scheme share.
func (c Config) withLimiter() Config {
	if c.Limiter == nil && c.RateLimit > 0 {
		burst := min(max(c.RateLimit/10, minBurst), maxBurst)
		c.Limiter = rate.NewLimiter(rate.Limit(c.RateLimit), int(burst))
	}
	return c
}
