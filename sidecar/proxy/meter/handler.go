package meter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Paths of Handler.
const (
	HealthPath  = "/healthz"
	ReadyPath   = "/readyz"
	MetricsPath = "/metrics"
	StatusPath  = "/status"
)

// errDraining is why a proxy that stops is not ready.
var errDraining = errors.New("the proxy stops: it finishes what it has begun and takes nothing new")

// ready says why the proxy is not ready.
func (m *Meter) ready(ctx context.Context) error {
	if m.draining.Load() {
		return errDraining
	}
	if m.cfg.Ready == nil {
		return nil
	}
	return m.cfg.Ready(ctx)
}

// Handler answers /healthz (the process answers), /readyz (the store answers, and
// nothing is being stopped), /metrics (Prometheus) and /status (JSON). Of what has
// another path it returns next's answer.
func (m *Meter) Handler(next http.Handler) http.Handler {
	if m == nil {
		return next
	}
	metrics := promhttp.HandlerFor(m.registry(), promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer http.Handler
		switch r.URL.Path {
		case HealthPath:
			answer = http.HandlerFunc(healthy)
		case ReadyPath:
			answer = http.HandlerFunc(m.serveReady)
		case MetricsPath:
			answer = m.allowed(metrics)
		case StatusPath:
			answer = m.allowed(http.HandlerFunc(m.serveStatus))
		default:
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this path knows GET and HEAD only", http.StatusMethodNotAllowed)
			return
		}
		answer.ServeHTTP(w, r)
	})
}

func healthy(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") }

func (m *Meter) serveReady(w http.ResponseWriter, r *http.Request) {
	if err := m.ready(r.Context()); err != nil {
		http.Error(w, fmt.Sprintf("not ready: %v", err), http.StatusServiceUnavailable)
		return
	}
	healthy(w, r)
}

// allowed shows figures only to who may see them: they tell what others pull.
func (m *Meter) allowed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.cfg.Allow != nil && !m.cfg.Allow(r) {
			http.Error(w, "metrics and status are for loopback or for who has logged in", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (m *Meter) serveStatus(w http.ResponseWriter, r *http.Request) {
	raw, err := json.Marshal(m.Status(r.Context()))
	if err != nil {
		http.Error(w, "the status cannot be told", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(raw, '\n'))
}

// each calls do for each series.
func (r *requests) each(do func(k requestKey, n int64)) {
	r.counts.Range(func(k, n any) bool {
		do(k.(requestKey), n.(*atomic.Int64).Load()) //nolint:forcetypeassert // nothing else is stored
		return true
	})
}
