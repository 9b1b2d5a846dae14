package meter

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Side is where bytes come from or go to.
type Side string

// The sides of the proxy. Bytes are those of bodies, as they are on the wire.
const (
	ClientIn      Side = "client_in"
	ClientOut     Side = "client_out"
	UpstreamIn    Side = "upstream_in"
	DownstreamIn  Side = "downstream_in"
	DownstreamOut Side = "downstream_out"
)

var sides = []Side{ClientIn, ClientOut, UpstreamIn, DownstreamIn, DownstreamOut}

// A Kind is what was asked for.
type Kind string

// The kinds of content.
const (
	Blob     Kind = "blob"
	Manifest Kind = "manifest"
)

var kinds = []Kind{Blob, Manifest}

// Config is what a Meter is told of; the zero value works.
type Config struct {
	// Version is the program's.
	Version string
	// Log receives a line per image and per upstream error; nil discards.
	Log *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Store says what the store holds, for metrics and status; nil where there is
	// none. It is asked every few seconds at most.
	Store func(ctx context.Context) (StoreUse, error)
	// Ready says why requests are not answered well now, for /readyz; nil is ready.
	Ready func(ctx context.Context) error
	// Allow says who may see /metrics and /status; nil is anybody. What it refuses
	// is 403.
	Allow func(r *http.Request) bool
}

// StoreUse is what the store holds.
type StoreUse struct {
	// Bytes are those on the disk; High and Low are its water marks, 0 for none.
	Bytes int64 `json:"bytes"`
	High  int64 `json:"high,omitempty"`
	Low   int64 `json:"low,omitempty"`
	// Images are the roots that it keeps, Pinned those that are never evicted.
	Images int64 `json:"images"`
	Pinned int64 `json:"pinned,omitempty"`
}

// A Meter counts. All methods may be called at once, also of nil.
type Meter struct {
	cfg   Config
	start time.Time

	bytes      map[Side]*atomic.Int64 // its keys never change
	hits, miss map[Kind]*atomic.Int64
	saved      atomic.Int64
	inFlight   atomic.Int64
	queue      atomic.Int64
	draining   atomic.Bool
	requests   requests
	images     [imageCounts]atomic.Int64
	hosts      hosts
	motions    motions
	store      storeCache
}

// New returns a Meter at zero.
func New(cfg Config) *Meter {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := &Meter{cfg: cfg, start: cfg.Now(), bytes: map[Side]*atomic.Int64{}, hits: map[Kind]*atomic.Int64{}, miss: map[Kind]*atomic.Int64{}}
	for _, s := range sides {
		m.bytes[s] = new(atomic.Int64)
	}
	for _, k := range kinds {
		m.hits[k], m.miss[k] = new(atomic.Int64), new(atomic.Int64)
	}
	m.hosts.now = cfg.Now
	m.motions.now = cfg.Now
	return m
}

// Bytes counts bytes that moved at a side, where neither Wrap nor Transport sees them.
func (m *Meter) Bytes(s Side, n int64) {
	if m == nil {
		return
	}
	if c := m.bytes[s]; c != nil {
		c.Add(n)
	}
}

// Hit counts something that was answered without its upstream, and the bytes that
// therefore did not have to come again.
func (m *Meter) Hit(k Kind, saved int64) {
	if m == nil {
		return
	}
	if c := m.hits[k]; c != nil {
		c.Add(1)
	}
	m.saved.Add(saved)
}

// Miss counts something that had to be fetched from its upstream.
func (m *Meter) Miss(k Kind) {
	if m == nil {
		return
	}
	if c := m.miss[k]; c != nil {
		c.Add(1)
	}
}

// Saved counts bytes that did not have to move otherwise: a push whose blob was there.
func (m *Meter) Saved(n int64) {
	if m != nil {
		m.saved.Add(n)
	}
}

// Queue counts work that waits for its turn: 1 when it begins to wait, -1 when it ends.
func (m *Meter) Queue(delta int64) {
	if m != nil {
		m.queue.Add(delta)
	}
}

// Drain has /readyz say no from now on: the proxy takes nothing new.
func (m *Meter) Drain() {
	if m != nil {
		m.draining.Store(true)
	}
}

// storeAge is how old a figure of the store may be: to find it may cost a walk.
const storeAge = 5 * time.Second

// A storeCache keeps the last figure of the store.
type storeCache struct {
	mu   sync.Mutex
	at   time.Time
	last StoreUse
	err  error
}

// storeUse is what the store holds, or held a moment ago; ok is false where there
// is no store.
func (m *Meter) storeUse(ctx context.Context) (use StoreUse, ok bool, err error) {
	if m.cfg.Store == nil {
		return StoreUse{}, false, nil
	}
	now := m.cfg.Now()
	m.store.mu.Lock()
	use, err = m.store.last, m.store.err
	fresh := !m.store.at.IsZero() && now.Sub(m.store.at) < storeAge && !now.Before(m.store.at)
	m.store.mu.Unlock()
	if fresh {
		return use, true, err
	}
	use, err = m.cfg.Store(ctx)
	m.store.mu.Lock()
	m.store.at, m.store.last, m.store.err = now, use, err
	m.store.mu.Unlock()
	return use, true, err
}
