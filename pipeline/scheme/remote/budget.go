package remote

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Budget is how many requests a registry still takes from us, as it last told.
type Budget struct {
	// Limit and Remaining are requests in a Window; Limit is 0 while the registry has
	// told nothing, which most never do.
	Limit, Remaining int
	// Window is the time that Limit is for; 0 is not told.
	Window time.Duration
	// Until is when a registry that refused us, or asked for a pause, may be asked
	// again; the zero time for one that did not. Before it, requests fail at once
	// with status 429.
	Until time.Time
}

// A budget keeps the Budget of a registry.
type budget struct {
	mu       sync.Mutex
	now      Budget
	refusals int // one after the other
}

const (
	// firstHold is how long a registry is left alone that refuses a request as one too
	// many without telling when it will take more; it doubles up to maxHold.
	firstHold = time.Second
	maxHold   = time.Minute
	// longestHold bounds what a registry may ask for: one that errs must not be lost
	// for ever.
	longestHold = 6 * time.Hour
)

// note reads what an answer tells.
func (b *budget) note(resp *http.Response, now time.Time) {
	limit, window, told := quota(resp.Header.Get("RateLimit-Limit"))
	remaining, _, left := quota(resp.Header.Get("RateLimit-Remaining"))
	b.mu.Lock()
	defer b.mu.Unlock()
	if told {
		b.now.Limit, b.now.Window = limit, window
	}
	if left {
		b.now.Remaining = remaining
	}
	busy := resp.StatusCode == http.StatusServiceUnavailable
	if resp.StatusCode != http.StatusTooManyRequests && !busy {
		b.refusals = 0
		return
	}
	wait := retryAfter(resp.Header, now)
	if wait == 0 && busy {
		return // it may be this one request
	}
	if wait == 0 {
		wait = min(firstHold<<min(b.refusals, 16), maxHold)
	}
	b.refusals++
	if until := now.Add(min(wait, longestHold)); until.After(b.now.Until) {
		b.now.Until = until
	}
}

func (b *budget) get() Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// quota reads "100;w=21600" as Docker Hub writes it: a number, and seconds.
func quota(v string) (n int, window time.Duration, ok bool) {
	number, params, _ := strings.Cut(v, ";")
	count, err := strconv.ParseUint(strings.TrimSpace(number), 10, 31)
	if err != nil {
		return 0, 0, false
	}
	for param := range strings.SplitSeq(params, ";") {
		if w, found := strings.CutPrefix(strings.TrimSpace(param), "w="); found {
			if seconds, err := strconv.ParseUint(w, 10, 31); err == nil {
				window = time.Duration(seconds) * time.Second
			}
		}
	}
	return int(count), window, true
}

// held is the answer to a request that the registry would refuse.
func (c *client) heldBack(now time.Time) error {
	if !c.holds {
		return nil
	}
	wait := c.budget.get().Until.Sub(now)
	if wait <= 0 {
		return nil
	}
	return &StatusError{
		Status: http.StatusTooManyRequests, host: c.ref.Host, retryAfter: wait,
		Message: "it asked for no requests before " + now.Add(wait).UTC().Format(time.RFC3339),
	}
}
