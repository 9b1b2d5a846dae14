package pipeline

import (
	"context"
	"errors"
)

// A LaneReport says which of several ways one end of a run took, and why.
type LaneReport struct {
	Side Side
	// Place is the daemon at hand, as a person knows it ("ssh://jo@host").
	Place string
	// Lane is the way that was taken, as in ?lane=.
	Lane string
	// Why says in a few words why this one ("as root, from its files").
	Why string
	// Forced: the location named the lane.
	Forced bool
	// Passed are the ways before it that did not fit, in the order in which they
	// were looked at.
	Passed []PassedLane
	// Disk is the most that temporary files of this end held at once, in bytes.
	Disk int64
}

// A PassedLane is a way that was not taken.
type PassedLane struct{ Lane, Why string }

// Laned is implemented by sources and sinks that choose among several ways. Lane
// is complete when the run has ended; false: nothing was chosen.
type Laned interface {
	Lane() (LaneReport, bool)
}

// DiskUser is implemented by graphs and sinks that put aside what they carry:
// PeakDisk is the most that their temporary files held at once so far, in bytes.
type DiskUser interface {
	PeakDisk() int64
}

// Deferred is implemented by a sink that is chosen when its place was looked at.
// Run asks once, before it opens the source, and then uses what it gets; it
// closes the Deferred sink alone, which closes what it gave.
type Deferred interface {
	Chosen(ctx context.Context) (Sink, error)
}

// Lane emits which way an end took.
func (f Events) Lane(l LaneReport) { f.emit(Event{Kind: EventLane, Lane: &l}) }

// lanes are the ways that the two ends took.
func lanes(src Source, dst Sink) (out []LaneReport) {
	for _, end := range []any{src, dst} {
		if l, ok := end.(Laned); ok {
			if lane, ok := l.Lane(); ok {
				out = append(out, lane)
			}
		}
	}
	return out
}

// OnClose returns g, whose Close also does then.
func OnClose(g Graph, then func() error) Graph {
	if r, ok := g.(*resolved); ok { // Run knows it by its type
		closer := r.closer
		r.closer = func() error {
			if closer == nil {
				return then()
			}
			return errors.Join(closer(), then())
		}
		return r
	}
	return &closing{Graph: g, then: then}
}

// closing is a graph with more to close.
type closing struct {
	Graph
	then func() error
}

// Close closes the graph, then the rest.
func (c *closing) Close() error { return errors.Join(c.Graph.Close(), c.then()) }
