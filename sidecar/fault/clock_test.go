//go:build unix

package fault

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/occystrap/occystrap/sidecar/proxy"
	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
)

// A clock that jumps, back or forth, makes no tag wrong for longer than it may be, and
// loses nothing that was pushed.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now.Store(began.UnixNano())
	w := newWorld(t, func(c *proxy.Config, other string) {
		mirrors(c, other)
		c.Now = func() time.Time { return time.Unix(0, now.Load()) }
		c.Fresh = proxy.Fresh{TTL: time.Minute, StaleWhile: -1, StaleError: -1}
	})
	other := proxytest.Images(t, w.store, 8, 1)[0]
	_, err := w.push(t.Context())
	must(t, err)
	for i, jump := range []time.Duration{0, 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour, 20 * 365 * 24 * time.Hour, -time.Hour, time.Hour} {
		now.Add(int64(jump))
		want := w.image
		if i%2 == 1 {
			want = other
		}
		w.other.Push(t, "team/app", w.store, want, "1")
		// By then at the latest the tag is asked for again.
		now.Add(int64(2 * time.Minute))
		if got, err := w.pull(t.Context()); err != nil || got != want.Digest {
			t.Errorf("after a jump of %s the tag leads to %s, %v; want %s", jump, got, err, want.Digest)
		}
		if got, err := w.Pull(t.Context(), "team/app", "1", ""); err != nil || got != w.image.Digest {
			t.Errorf("after a jump of %s what was pushed is %s, %v", jump, got, err)
		}
	}
}
