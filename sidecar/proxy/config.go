package proxy

import (
	"log/slog"
	"net"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// Config is all that a proxy is told. A Store.Dir alone makes a local registry.
type Config struct {
	// Program is what the proxy calls itself to registries, as "occystrap/v1.2.3".
	Program string
	// Store is where blobs are kept, or staged and cached if there is a downstream.
	Store StoreConfig
	// Downstream gets what is pushed, and what filters make of what is pulled; without a
	// Host the store keeps it.
	Downstream Remote
	// Upstreams are the registries that may be pulled from; no other is contacted.
	Upstreams []Upstream
	// Upstream is the host of the one that answers for names without a host; ""
	// for none.
	Upstream string
	// Rules say what happens to whose images: the first that matches counts, and All
	// where none does.
	All   rules.Spec
	Rules []rules.Spec
	// Filter is what the filters of rules get from outside; its TempDir is the proxy's,
	// and a search without a place to print to goes to the log.
	Filter filter.Defaults

	// Concurrency is how many images are filtered at once, Parallel how many layers of each;
	// 0 is 4.
	Concurrency, Parallel int
	Compression           pipeline.Compression
	Recompress            pipeline.Recompress
	// LayerCache is the file of a layer cache, and LayerCacheSize its most bytes (0
	// is the file's own default); "" remembers until the end only.
	LayerCache     string
	LayerCacheSize int64
	// TempDir is for temporary files; "" is in the store's folder.
	TempDir string

	// Offline asks no upstream. It counts for all; each may be offline for itself.
	Offline bool
	// Fresh is how long tags are believed, where an upstream has no time of its own.
	Fresh Fresh

	// Retries, Backoff and Stall are those of the clients of registries (remote.Config);
	// zero is what is usual.
	Retries        int
	Backoff, Stall time.Duration
	// Now is the clock by which things grow old; nil is time.Now.
	Now func() time.Time

	// Access is who may do what.
	Access Access

	// Listening is where clients reach the proxy.
	Listening []net.Addr

	// Log gets a line for each image and for what went wrong; nil is no log.
	Log *slog.Logger
}

// StoreConfig is where and how much is kept.
type StoreConfig struct {
	// Dir belongs to the proxy alone.
	Dir string
	// High and Low are marks in bytes: above High the longest unused images go until
	// there are Low. 0 is no bound; Low is then 80 % of High.
	High, Low int64
	// Age is how long an image may be unused; 0 is for ever.
	Age time.Duration
}

// A Remote is a registry that the proxy is a client of.
type Remote struct {
	// Host is the registry's name, and Prefix a path below it.
	Host, Prefix string
	// Address is HOST[:PORT] to connect to in place of Host.
	Address string
	// Insecure is plain HTTP, CA a PEM file of authorities to trust besides.
	Insecure   bool
	SkipVerify bool
	CA         string
	// Private allows addresses that are not those of the internet, beyond those
	// that Host or Address says itself.
	Private bool
	// Realms are hosts of token servers outside of the registry's domain.
	Realms []string
	// Keys are the logins; nil is anonymous.
	Keys credential.Keychain
}

// An Upstream is a registry that is pulled from.
type Upstream struct {
	Remote
	// Local is the first part of names that lead here besides the host, as "hub", and Rewrite
	// what stands in its place there.
	Local, Rewrite string
	// Fresh is how long its tags are believed; what is nil is the proxy's.
	Fresh   Fresh
	Offline bool
}

// Fresh are times of a tag. A negative one is never, zero the default.
type Fresh struct {
	// TTL is how long upstream is not asked again.
	TTL time.Duration
	// StaleWhile is how long after that the old is served while upstream is asked.
	StaleWhile time.Duration
	// StaleError is how long the old is served when upstream fails.
	StaleError time.Duration
}

// Access is who may do what.
type Access struct {
	// Hosts are the names that clients may call the proxy by, besides those of the
	// addresses that it listens at.
	Hosts []string
	// Users is an htpasswd file, Tokens one with a token a line, Secret one with
	// the secret that pushes, deletes and upstreams with logins demand; with NewSecret it
	// is made if it is not there.
	Users, Tokens, Secret string
	NewSecret             bool
	// Peers are the numbers of the users who may connect through the loopback;
	// nil is everybody.
	Peers []uint32
	// Cert and Key are PEM files for TLS, read again when they change.
	Cert, Key string
}
