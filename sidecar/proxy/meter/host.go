package meter

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// mostHosts bounds the labels. Only configured upstreams are asked, so it is never
// reached unless somebody configures more; the rest share one.
const (
	mostHosts  = 128
	otherHosts = "other"
)

// A Budget is what an upstream said of its limit.
type Budget struct {
	// Limit and Remaining are requests in Window.
	Limit     int           `json:"limit"`
	Remaining int           `json:"remaining"`
	Window    time.Duration `json:"window,omitempty"`
	// Until is when the upstream may be asked again; zero for now.
	Until time.Time `json:"until,omitzero"`
}

// hosts are the far ends that were asked.
type hosts struct {
	now func() time.Time
	mu  sync.Mutex
	by  map[string]*host
}

// A host is what is known of a far end.
type host struct {
	downstream bool
	requests   int64
	errors     map[string]int64 // by reason
	lastError  string
	errorAt    time.Time
	okAt       time.Time
	budget     *Budget
}

// do lets f look at a host, or change it.
func (s *hosts) do(name string, f func(h *host)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.by[name]
	if !ok {
		if len(s.by) >= mostHosts {
			name = otherHosts
			h = s.by[name]
		}
		if h == nil {
			h = &host{errors: map[string]int64{}}
			if s.by == nil {
				s.by = map[string]*host{}
			}
			s.by[name] = h
		}
	}
	f(h)
}

// SetBudget tells what an upstream said of its limit.
func (m *Meter) SetBudget(name string, b Budget) {
	if m != nil {
		m.hosts.do(name, func(h *host) { h.budget = &b })
	}
}

// Asked counts a request to a far end that Transport does not see, and writes a
// line if it failed. reason is a short word for it, as "timeout" or "503".
func (m *Meter) Asked(name, reason string, err error) {
	if m == nil {
		return
	}
	m.asked(name, false, reason, err)
}

func (m *Meter) asked(name string, downstream bool, reason string, err error) {
	now := m.cfg.Now()
	m.hosts.do(name, func(h *host) {
		h.requests++
		h.downstream = downstream
		if err == nil {
			h.okAt = now
			return
		}
		h.failed(now, reason, err)
	})
	if err != nil {
		m.logFailure(name, downstream, reason, err)
	}
}

func (h *host) failed(now time.Time, reason string, err error) {
	if _, ok := h.errors[reason]; !ok && len(h.errors) >= mostHosts {
		reason = otherHosts
	}
	h.errors[reason]++
	h.lastError, h.errorAt = err.Error(), now
}

// Host is the health of a far end.
type Host struct {
	Host       string           `json:"host"`
	Downstream bool             `json:"downstream,omitempty"`
	Requests   int64            `json:"requests"`
	Errors     map[string]int64 `json:"errors,omitempty"`
	// LastError holds no secret. LastOK and ErrorAt say which was later.
	LastError string    `json:"last_error,omitempty"`
	ErrorAt   time.Time `json:"error_at,omitzero"`
	LastOK    time.Time `json:"last_ok,omitzero"`
	Budget    *Budget   `json:"budget,omitempty"`
}

// Healthy says whether the last thing that was heard of it is good.
func (h Host) Healthy() bool { return !h.ErrorAt.After(h.LastOK) || h.LastError == "" }

func (s *hosts) list() []Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Host, 0, len(s.by))
	for name, h := range s.by {
		one := Host{Host: name, Downstream: h.downstream, Requests: h.requests, Errors: maps.Clone(h.errors), LastError: h.lastError, ErrorAt: h.errorAt, LastOK: h.okAt}
		if h.budget != nil {
			b := *h.budget
			one.Budget = &b
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Host) int { return cmp.Compare(a.Host, b.Host) })
	return list
}
