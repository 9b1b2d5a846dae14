package lanes

import (
	"sync"

	"github.com/occystrap/occystrap/plugin/control/wire"
)

// Each connection has at most one request under way, so these bound requests
// and streams too. A stream costs some 300 KiB.
const (
	mostOfOne = 64
	mostOfAll = 512
)

// guests counts connections, so that one user does not take them all.
type guests struct {
	mu  sync.Mutex
	all int
	by  map[uint32]int
}

func newGuests() *guests { return &guests{by: map[uint32]int{}} }

// enter counts one in; leave counts it out.
func (g *guests) enter(uid uint32) (leave func(), refusal *wire.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.by[uid] >= mostOfOne:
		return nil, wire.Errorf(wire.Busy, "user %d has %d connections to the sidecar, as many as one user may have; try again when some have ended", uid, mostOfOne)
	case g.all >= mostOfAll:
		return nil, wire.Errorf(wire.Busy, "the sidecar has %d connections, as many as it takes; try again when some have ended", mostOfAll)
	}
	g.all++
	g.by[uid]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.all--
		if g.by[uid]--; g.by[uid] == 0 {
			delete(g.by, uid)
		}
	}, nil
}
