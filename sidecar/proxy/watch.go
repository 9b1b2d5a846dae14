package proxy

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/docker/go-units"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/sidecar/proxy/meter"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
	"github.com/occystrap/occystrap/sidecar/proxy/push"
)

// newMeter counts what the proxy does, for as long as it lives.
func (p *Proxy) newMeter(c Config) *meter.Meter {
	return meter.New(meter.Config{
		Version: version(c.Program), Log: p.log, Allow: mayWatch,
		Store: func(ctx context.Context) (meter.StoreUse, error) {
			u, err := p.store.Usage(ctx)
			return meter.StoreUse{Bytes: u.Bytes, High: c.Store.High, Low: c.Store.Low, Images: int64(u.Images), Pinned: u.Pinned}, err
		},
		Ready: func(context.Context) error { return p.store.Answers() },
	})
}

// version is that in a name as registries get it: "occystrap/v1.2.3 (+URL)".
func version(program string) string {
	name, _, _ := strings.Cut(program, " ")
	return strings.TrimPrefix(name, "occystrap/")
}

// watch tells the meter and the log what pulls do.
func (p *Proxy) watch() pull.Watch {
	return pull.Watch{
		Looked: func(host, kind string, hit bool, size int64) {
			if hit {
				p.meter.Hit(meter.Kind(kind), size)
			} else {
				p.meter.Miss(meter.Kind(kind))
			}
			p.budget(host)
		},
		Warn: func(host, message string, err error) {
			p.log.Warn(message, "upstream", host, "error", err)
		},
		Pulled: func(i pull.Image) {
			p.meter.Image(meter.Image{
				Pull: true, Host: i.Host, Repository: i.Repository, Tags: i.Tags, Received: i.Received.String(), Stored: i.Stored.String(),
				Bytes: i.Bytes, Reused: i.Reused, Duration: i.Duration, Err: i.Err,
			})
		},
	}
}

// budget tells the meter what an upstream said of its limit.
func (p *Proxy) budget(host string) {
	g := p.current()
	for i, u := range g.config.Upstreams {
		if u.Host != host {
			continue
		}
		if b := g.clients.upstreams[i].Budget(cmp.Or(u.Address, u.Host)); b.Limit > 0 || !b.Until.IsZero() {
			p.meter.SetBudget(host, meter.Budget(b))
		}
	}
}

// pushedImage tells of an image that was pushed.
func (p *Proxy) pushedImage(i push.Image, downstream string) {
	p.meter.Image(meter.Image{
		Host: downstream, Repository: i.Repository, Tags: i.Tags, Received: i.Received.String(), Stored: i.Stored.String(),
		Bytes: i.In, Reused: i.Reused, Duration: i.Duration, Err: i.Err,
	})
	p.meter.Saved(i.Reused)
	for _, dropped := range i.Dropped {
		p.log.Info("left out by a rule", "repository", i.Repository, "what", dropped)
	}
}

// events are what runs tell: warnings, and details for who looks for them.
func (p *Proxy) events(e pipeline.Event) {
	level := slog.LevelDebug
	switch e.Kind { // the meter knows the others
	case pipeline.EventWarning:
		level = slog.LevelWarn
	case pipeline.EventDetail:
	default:
		return
	}
	p.log.Log(context.Background(), level, e.Message)
}

// Totals is a line that tells what the proxy has done.
func (p *Proxy) Totals(ctx context.Context) string {
	s := p.meter.Status(ctx)
	size := func(n int64) string { return units.HumanSize(float64(n)) }
	parts := []string{
		fmt.Sprintf("%d images pushed, %d failed", s.Images.Pushed, s.Images.PushFailed),
		fmt.Sprintf("%d made for pulls, %d failed", s.Images.Pulled, s.Images.PullFailed),
		fmt.Sprintf("%d hits, %d misses", sum(s.Hits), sum(s.Misses)),
		fmt.Sprintf("%s in, %s out", size(s.Bytes[meter.ClientIn]), size(s.Bytes[meter.ClientOut])),
	}
	return strings.Join(parts, "; ")
}

func sum[K comparable](m map[K]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}
