package meter

import (
	"context"
	"time"
)

// Status is what "occystrap proxy status" shows, as JSON.
type Status struct {
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Now      time.Time `json:"now"`
	Draining bool      `json:"draining,omitempty"`
	// NotReady is why /readyz says no; "" when it says yes.
	NotReady string `json:"not_ready,omitempty"`

	InFlight int64      `json:"in_flight"`
	Queue    int64      `json:"queue"`
	Moving   []Transfer `json:"moving"`

	Requests int64          `json:"requests"`
	Failed   int64          `json:"failed"` // answered with 5xx
	Bytes    map[Side]int64 `json:"bytes"`
	Hits     map[Kind]int64 `json:"hits"`
	Misses   map[Kind]int64 `json:"misses"`
	// HitRate is hits of all that was pulled, of 0 to 1; -1 when nothing was.
	HitRate float64 `json:"hit_rate"`
	Saved   int64   `json:"saved"`

	Images Images    `json:"images"`
	Store  *StoreUse `json:"store,omitempty"`
	// StoreError is why the store does not answer.
	StoreError string `json:"store_error,omitempty"`
	Hosts      []Host `json:"hosts"`
}

// Images counts images.
type Images struct {
	Pushed     int64 `json:"pushed"`
	PushFailed int64 `json:"push_failed"`
	Pulled     int64 `json:"pulled"`
	PullFailed int64 `json:"pull_failed"`
}

// Status is how things are now.
func (m *Meter) Status(ctx context.Context) Status {
	if m == nil {
		return Status{HitRate: -1}
	}
	s := Status{
		Version: m.cfg.Version, Started: m.start, Now: m.cfg.Now(), Draining: m.draining.Load(),
		InFlight: m.inFlight.Load(), Queue: m.queue.Load(), Moving: m.motions.moving(),
		Bytes: map[Side]int64{}, Hits: map[Kind]int64{}, Misses: map[Kind]int64{}, HitRate: -1, Saved: m.saved.Load(),
		Images: Images{m.images[pushed].Load(), m.images[pushFailed].Load(), m.images[pulled].Load(), m.images[pullFailed].Load()},
		Hosts:  m.hosts.list(),
	}
	if err := m.ready(ctx); err != nil {
		s.NotReady = err.Error()
	}
	m.requests.each(func(k requestKey, n int64) {
		s.Requests += n
		if k.status >= 500 {
			s.Failed += n
		}
	})
	for side, n := range m.bytes {
		s.Bytes[side] = n.Load()
	}
	var hits, all int64
	for _, k := range kinds {
		s.Hits[k], s.Misses[k] = m.hits[k].Load(), m.miss[k].Load()
		hits += s.Hits[k]
		all += s.Hits[k] + s.Misses[k]
	}
	if all > 0 {
		s.HitRate = float64(hits) / float64(all)
	}
	switch use, ok, err := m.storeUse(ctx); {
	case err != nil:
		s.StoreError = err.Error()
	case ok:
		s.Store = &use
	}
	return s
}
