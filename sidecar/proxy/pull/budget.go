package pull

import "time"

const (
	// reservePart: a registry that tells how many requests it takes (Docker Hub:
	// ratelimit-limit, ratelimit-remaining) is asked about tags that are kept here only
	// while it has more than this part of them left. The rest is for what is not kept.
	reservePart = 10
	// probeTime is how long a reserve is believed at most, since only an answer tells
	// that there is more again.
	probeTime = 15 * time.Minute
	// unknownWindow stands for a window that was not told.
	unknownWindow = time.Minute
)

// mayAsk says whether a question may be put to the upstream; else how long not. kept:
// it is about something that can be answered without it.
func (u *upstream) mayAsk(kept bool) (wait time.Duration, ok bool) {
	b := u.Client.Budget(u.Address)
	now := u.p.c.Now()
	if wait := b.Until.Sub(now); wait > 0 {
		return wait, false
	}
	low := b.Limit > 0 && b.Remaining <= b.Limit/reservePart
	u.mu.Lock()
	defer u.mu.Unlock()
	if !low {
		u.low = time.Time{}
		return 0, true
	}
	if !kept {
		return 0, true
	}
	window := b.Window
	if window <= 0 {
		window = unknownWindow
	}
	window = min(window, probeTime)
	since := now.Sub(u.low)
	if u.low.IsZero() || since < 0 {
		u.low, since = now, 0
	}
	if since >= window {
		u.low = now
		return 0, true
	}
	return window - since, false
}
