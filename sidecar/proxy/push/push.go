package push

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// A Keeper keeps images (package keep).
type Keeper interface {
	// Sink takes one image or index into a repository, under tags; without tags it is
	// found by its digest alone.
	Sink(ctx context.Context, repository string, tags []string) (pipeline.Sink, error)
	// Backend reads what is kept.
	Backend() registry.Backend
}

// Notes remember small things of a repository; *store.Space does.
type Notes interface {
	// Fact is a note, or pipeline.ErrNotFound.
	Fact(ctx context.Context, repository, key string) ([]byte, error)
	SetFact(ctx context.Context, repository, key string, value []byte) error
}

// Config is what a Push works with.
type Config struct {
	// Staging is where pushes arrive. It keeps them for an hour or so: it must take
	// manifests whose blobs are not there.
	Staging registry.Backend
	// Keeper is where images go.
	Keeper Keeper
	// Rules say what happens on the way.
	Rules *rules.Rules
	// Notes remember under which digests manifests are kept; nil is a memory of this
	// process.
	Notes Notes
	// Cache knows what layers become. Nil: one of this process.
	Cache pipeline.Cache
	// Concurrency is how many images are sent on at once, and Parallel how many layers
	// of one; as many layers as both allow go early. 0 stands for 4.
	Concurrency, Parallel int
	// Retries is how often a layer is sent again when an end failed in a way that may
	// pass.
	Retries int
	// TempDir holds what filters put aside; "" is the system's.
	TempDir string
	// Limits bound what pushes may cost; the zero value stands for the defaults.
	Limits pipeline.Limits
	// Stall is how long an upload that goes on early may rest before it is no longer
	// waited for; 0 is a minute.
	Stall time.Duration
	// Done is told of each image that was sent on, or failed. It must return soon.
	Done func(Image)
	// Queue is told of each image that begins to wait for its turn (1), and ends to
	// (-1); it may be nil.
	Queue func(delta int64)
	// Events receives what happens in the runs; nil discards it.
	Events pipeline.Events
}

// An Image is what became of one manifest that was put.
type Image struct {
	Repository string
	// Tags are those that it was put under; none for one that came by its digest.
	Tags []string
	// Received is the digest that the client sent, and Stored the one that is kept; ""
	// if it is not, by an error or by a rule.
	Received, Stored digest.Digest
	// In is how many bytes came for it, Out how many were sent on, and Reused how many
	// the keeper had.
	In, Out, Reused int64
	// Dropped are what a policy left out, for people.
	Dropped  []string
	Duration time.Duration
	Err      error
}

const (
	defaultConcurrency = 4
	defaultStall       = time.Minute
)

// A Push is the part of the proxy that takes pushes.
type Push struct {
	cfg   Config
	runs  chan struct{} // a place for each image at work
	early chan struct{} // and for each layer that goes early

	flights singleflight.Group

	work context.Context //nolint:containedctx // of all work, which outlives requests
	stop context.CancelCauseFunc

	mu       sync.Mutex
	closed   bool
	flying   int           // manifests at work
	landed   chan struct{} // closed when flying becomes 0; nil: nobody waits
	arrivals map[string]*arrival
	came     map[place]*arrival
	making   map[workKey]*arrival // whole, and on their way through the filters
	all      sync.WaitGroup
}

// A place is a blob in a repository.
type place struct {
	repository string
	blob       digest.Digest
}

// New returns a Push. The caller ends it by Drain.
func New(cfg Config) *Push {
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = defaultConcurrency
	}
	if cfg.Stall <= 0 {
		cfg.Stall = defaultStall
	}
	if cfg.Cache == nil {
		cfg.Cache = newMemory()
	}
	if cfg.Notes == nil {
		cfg.Notes = newMemory()
	}
	p := &Push{
		cfg:      cfg,
		runs:     make(chan struct{}, cfg.Concurrency),
		early:    make(chan struct{}, cfg.Concurrency*cfg.Parallel),
		arrivals: map[string]*arrival{}, came: map[place]*arrival{}, making: map[workKey]*arrival{},
	}
	p.work, p.stop = context.WithCancelCause(context.Background())
	return p
}

var errClosed = errors.New("the proxy ends; push again when it is back")

// take counts a manifest at work; false when nothing new is taken.
func (p *Push) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.flying++
	return true
}

func (p *Push) land() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flying--; p.flying == 0 && p.landed != nil {
		close(p.landed)
		p.landed = nil
	}
}

// Drain takes no more manifests, and waits until those that were accepted are kept.
// When ctx ends before, they are given up, and its error is returned: their clients
// were told of no success. Then all that the Push has begun is at its end.
func (p *Push) Drain(ctx context.Context) (err error) {
	p.mu.Lock()
	p.closed = true
	var landed chan struct{}
	if p.flying > 0 {
		if p.landed == nil {
			p.landed = make(chan struct{})
		}
		landed = p.landed
	}
	p.mu.Unlock()
	if landed != nil {
		select {
		case <-landed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	p.stop(errClosed)
	p.all.Wait()
	return err
}

// options are those of a run by a rule.
func (p *Push) options(rule *rules.Rule) pipeline.Options {
	return pipeline.Options{
		Query: pipeline.Query{
			Missing: pipeline.MissingFail, Limits: p.cfg.Limits, Events: p.cfg.Events,
		},
		Parallel: p.cfg.Parallel, Retries: p.cfg.Retries, TempDir: p.cfg.TempDir,
		Attestations: rule.Attestations, Cache: p.cfg.Cache,
	}
}
