package push

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// maxArrived is how many uploads are remembered that have not ended, and how many blobs
// that no manifest has asked for. Those beyond are found in staging all the same; only
// how many bytes they had is forgotten.
const maxArrived = 4096

// arrive begins to watch an upload.
func (p *Push) arrive(repository, id string) *arrival {
	a := &arrival{staging: p.cfg.Staging, repository: repository, id: id, stall: p.cfg.Stall, done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	trim(p.arrivals)
	p.arrivals[id] = a
	return a
}

// trim makes room for one more where there are too many: nobody waits for those that
// are idle.
func trim[K comparable](m map[K]*arrival) {
	for k, old := range m {
		if len(m) < maxArrived {
			return
		}
		if old.idle() {
			delete(m, k)
		}
	}
}

// arriving finds an upload that is watched; nil for one of another process.
func (p *Push) arriving(id string) *arrival {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.arrivals[id]
}

// whole notes that an upload has become a blob.
func (p *Push) whole(a *arrival, d digest.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.same(a.repository, d); a.running() && p.making[w] == nil {
		p.making[w] = a // before it can end
	}
	a.finish(d, nil)
	delete(p.arrivals, a.id)
	trim(p.came)
	p.came[place{a.repository, d}] = a
}

// lost notes that an upload will never be one.
func (p *Push) lost(a *arrival, err error) {
	a.finish("", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.arrivals, a.id)
}

// idle says that nothing is at work on the arrival.
func (a *arrival) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.done:
		return true
	default:
		return !a.begun || a.claimed
	}
}

// begin sends an upload on while it arrives, where its rule lets it. Head are its first
// bytes.
func (p *Push) begin(a *arrival, head []byte) {
	rule := p.cfg.Rules.For(a.repository)
	if !rule.Plain() && registry.IsDocument(head) {
		return // no layer, and not for others before the filters have seen it
	}
	filters, err := rule.Filters()
	if err != nil || pipeline.FitsEarly(filters, p.options(rule)) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.begun {
		return
	}
	ctx, cancel := context.WithCancel(p.work)
	a.begun, a.cancel = true, cancel
	p.all.Go(func() {
		defer cancel()
		defer p.made(a)
		if report, err := p.goEarly(ctx, a, rule, filters); err == nil {
			a.mu.Lock()
			a.sent = report
			a.mu.Unlock()
		} else {
			p.cfg.Events.Detail(fmt.Sprintf("%s: a blob waits for its manifest: %v", a.repository, err))
		}
	})
}

// running says that it goes early just now.
func (a *arrival) running() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.done:
		return false
	default:
		return a.begun && !a.claimed && a.cancel == nil
	}
}

// A workKey is what is done to a blob, in whatever repository: rules of equal keys come
// to equal layers.
type workKey struct {
	blob digest.Digest
	rule string
}

func (p *Push) same(repository string, d digest.Digest) workKey {
	return workKey{d, p.cfg.Rules.For(repository).Key()}
}

// alone waits until nobody else is at the same work, so that its outcome is found rather
// than made again.
func (p *Push) alone(ctx context.Context, w workKey, a *arrival) error {
	for {
		p.mu.Lock()
		other := p.making[w]
		if a != nil && other == nil {
			p.making[w] = a
		}
		p.mu.Unlock()
		if other == nil {
			return nil
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// made ends what goes early. It may have ended before the blob was whole, and had a name.
func (p *Push) made(a *arrival) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(a.done)
	if w := p.same(a.repository, a.name()); p.making[w] == a {
		delete(p.making, w)
	}
}

// name is the digest, once it is known.
func (a *arrival) name() digest.Digest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.blob.Digest
}

// goEarly waits for its turn, and sends the upload on.
func (p *Push) goEarly(ctx context.Context, a *arrival, rule *rules.Rule, filters []pipeline.Filter) (report pipeline.LayerReport, err error) {
	select {
	case p.early <- struct{}{}:
		defer func() { <-p.early }()
	case <-ctx.Done():
		return report, ctx.Err()
	}
	p.mu.Lock() // so that it is not missed when it becomes whole
	a.mu.Lock()
	claimed, blob := a.claimed, a.blob
	if !claimed {
		a.cancel = nil // from here on it is waited for
	}
	a.mu.Unlock()
	p.mu.Unlock()
	if claimed {
		return report, context.Canceled
	}
	defer recovered(&err)
	if blob.Digest != "" && !rule.Plain() {
		if err := p.alone(ctx, p.same(a.repository, blob.Digest), a); err != nil {
			return report, err
		}
	}
	dst, err := p.cfg.Keeper.Sink(ctx, a.repository, nil)
	if err != nil {
		return report, err
	}
	defer func() { _ = dst.Close() }() // what was not committed is given up
	l := pipeline.Layer{Blob: blob, Open: func(ctx context.Context) (io.ReadCloser, error) { return a.follow(ctx) }}
	return pipeline.Early(ctx, l, filters, dst, p.options(rule))
}

// recovered makes an error of a panic in a goroutine that no server guards: what comes
// from strangers must not end the process.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("it panics: %v", r)
	}
}
