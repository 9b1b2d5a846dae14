package meter

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A Transfer is something that moves now.
type Transfer struct {
	// What says which way: "pull" and "push" are clients', "fetch" comes from an
	// upstream, "send" goes downstream; others as the caller names them.
	What string `json:"what"`
	// Host is the far end, where there is one.
	Host string `json:"host,omitempty"`
	// Repository and Digest name the content, as far as they are known.
	Repository string `json:"repository,omitempty"`
	Digest     string `json:"digest,omitempty"`
	// Done and Total are bytes; Total is -1 while nobody knows.
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
	// Since is when it began.
	Since time.Time `json:"since"`
}

// A Motion is a transfer until it ends.
type Motion struct {
	all  *motions
	what Transfer
	done atomic.Int64
}

// motions are all that move.
type motions struct {
	now func() time.Time
	mu  sync.Mutex
	all map[*Motion]struct{}
}

// Begin tells that something moves. Whoever calls it calls End.
func (m *Meter) Begin(t Transfer) *Motion {
	if m == nil {
		return nil
	}
	t.Since = m.cfg.Now()
	n := &Motion{all: &m.motions, what: t}
	n.done.Store(t.Done)
	m.motions.mu.Lock()
	if m.motions.all == nil {
		m.motions.all = map[*Motion]struct{}{}
	}
	m.motions.all[n] = struct{}{}
	m.motions.mu.Unlock()
	return n
}

// Add tells that bytes moved.
func (n *Motion) Add(bytes int64) {
	if n != nil {
		n.done.Add(bytes)
	}
}

// End tells that it moves no more, however it went. A second time does nothing.
func (n *Motion) End() {
	if n == nil {
		return
	}
	n.all.mu.Lock()
	delete(n.all.all, n)
	n.all.mu.Unlock()
}

// moving lists what moves, the oldest first.
func (s *motions) moving() []Transfer {
	s.mu.Lock()
	list := make([]Transfer, 0, len(s.all))
	for n := range s.all {
		t := n.what
		t.Done = n.done.Load()
		list = append(list, t)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b Transfer) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.What, b.What), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Digest, b.Digest))
	})
	return list
}

// size learns the total from a Content-Length header.
func (n *Motion) size(header string) {
	if n == nil {
		return
	}
	total, err := strconv.ParseInt(header, 10, 64)
	if err != nil || total < 0 {
		return
	}
	n.all.mu.Lock()
	n.what.Total = total
	n.all.mu.Unlock()
}
