package remote_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

func TestBudgetIsWhatTheRegistryTells(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		limit, remaining string
		want             remote.Budget
	}{
		"Docker Hub's": {"100;w=21600", "76;w=21600", remote.Budget{Limit: 100, Remaining: 76, Window: 6 * time.Hour}},
		"numbers":      {"5000", "0", remote.Budget{Limit: 5000}},
		"nothing":      {"", "", remote.Budget{}},
		"nonsense":     {"-1;w=x", "many", remote.Budget{}},
		"too much":     {"99999999999999999999", "7", remote.Budget{Remaining: 7}},
		"no window":    {"10;x=1;w=", "3", remote.Budget{Limit: 10, Remaining: 3}},
	}
	s, _ := sample(t, pipeline.Gzip)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, s, func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("ratelimit-limit", test.limit)
				w.Header().Set("ratelimit-remaining", test.remaining)
				return false
			})
			c := newClient(t, quick())
			if _, err := c.Repository(f.host(), "team/app").Stat(t.Context(), registry.Ref{Tag: "1"}); err != nil {
				t.Fatal(err)
			}
			if got := c.Budget(f.host()); got != test.want {
				t.Errorf("budget is %+v, want %+v", got, test.want)
			}
			if got := c.Budget("other.example"); got != (remote.Budget{}) {
				t.Errorf("budget of another is %+v", got)
			}
		})
	}
}

func TestRegistryThatWantsAPauseGetsOne(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status     int
		retryAfter string
		pause      time.Duration
	}{
		"too many":          {http.StatusTooManyRequests, "3600", time.Hour},
		"too many, no time": {http.StatusTooManyRequests, "", 8 * time.Second}, // after retries in 1 s, 2 s and 4 s
		"out of order":      {http.StatusServiceUnavailable, "1200", 20 * time.Minute},
		"for ever":          {http.StatusTooManyRequests, "99999999", 6 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := sample(t, pipeline.Gzip)
			synctest.Test(t, func(t *testing.T) { pausing(t, s, test.status, test.retryAfter, test.pause) })
		})
	}
}

// pausing runs under the clock of a bubble.
func pausing(t *testing.T, s http.Handler, status int, retryAfter string, pause time.Duration) {
	t.Helper()
	var asked atomic.Int32
	var busy atomic.Bool
	busy.Store(true)
	cfg := quick()
	cfg.Transport = direct{"registry.example": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if busy.Load() {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.WriteHeader(status)
			return
		}
		s.ServeHTTP(w, r)
	})}
	c := newClient(t, cfg)
	r := c.Repository("registry.example", "team/app")
	var refusal *remote.StatusError
	if _, err := r.Stat(t.Context(), registry.Ref{Tag: "1"}); !errors.As(err, &refusal) || !remote.Passing(err) {
		t.Fatalf("error is %v", err)
	}
	before := asked.Load()
	until := c.Budget("registry.example").Until
	if got := time.Until(until); got > pause || got < pause/2 {
		t.Errorf("the pause is %s, want about %s", got, pause)
	}
	if pause > time.Minute {
		_, err := c.Repository("registry.example", "team/other").Stat(t.Context(), registry.Ref{Tag: "1"})
		if !errors.As(err, &refusal) || refusal.Status != http.StatusTooManyRequests || refusal.RetryAfter() < pause/2 || !remote.Passing(err) {
			t.Errorf("error is %v", err)
		}
		if n := asked.Load() - before; n != 0 {
			t.Errorf("it was asked %d times in its pause", n)
		}
	}
	busy.Store(false)
	<-time.After(time.Until(until) + time.Second) // by the clock of the bubble
	if _, err := r.Stat(t.Context(), registry.Ref{Tag: "1"}); err != nil {
		t.Errorf("after the pause: %v", err)
	}
}

func TestPassing(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	for status, want := range map[int]bool{400: false, 401: false, 403: false, 404: false, 408: true, 429: true, 500: true, 501: true, 502: true, 503: true, 504: true} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			f := serve(t, s, func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true })
			cfg := quick()
			cfg.Retries = -1
			_, _, err := repository(t, cfg, f).Manifest(t.Context(), registry.Ref{Tag: "1"})
			if err == nil || remote.Passing(err) != want {
				t.Errorf("passing is %v for %v", !want, err)
			}
		})
	}
	cfg := quick()
	cfg.Retries = -1
	refused := serve(t, s)
	refused.Close()
	c := newClient(t, cfg)
	for name, host := range map[string]string{"refused": refused.host(), "no such name": "registry.invalid"} {
		if _, err := c.Repository(host, "a").Stat(t.Context(), registry.Ref{Tag: "1"}); err == nil || !remote.Passing(err) {
			t.Errorf("%s: passing is false for %v", name, err)
		}
	}
	if remote.Passing(nil) || remote.Passing(t.Context().Err()) || remote.Passing(pipeline.ErrDigest) {
		t.Error("passing is true of what does not")
	}
}
