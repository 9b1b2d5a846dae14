package daemon

import (
	"context"
	"strings"

	"github.com/moby/moby/client"

	"github.com/occystrap/occystrap/pipeline"
)

// A Lane is one of several ways to get the same bytes out of a daemon, or into
// one.
type Lane interface {
	// Name is the value of ?lane= that forces the lane.
	Name() string
	// Source reads the images of t; nil when the lane leads in only.
	Source(t Target) pipeline.Source
	// Sink writes to the daemon of t; nil when the lane leads out only.
	Sink(t Target) pipeline.Sink
}

// A Target is what a location says: a daemon, and images in it.
type Target struct {
	// Connect returns a client of the daemon; the lane closes it.
	Connect func(ctx context.Context) (client.APIClient, error)
	// Images are at least one at a source; at a sink they are one, or none to
	// keep the names of the source.
	Images []Reference
	// Recompress is how a sink wants layers that a filter changed.
	Recompress pipeline.Recompress
	// TempDir holds temporary files; "" is the system's.
	TempDir string
	// Events receives what the user should know; nil discards.
	Events pipeline.Events
}

// lanes are the ways of each side, the one that is chosen first in front.
var lanes = map[pipeline.Side][]Lane{
	pipeline.SourceSide: {saveLane{}},
	pipeline.SinkSide:   {loadLane{}},
}

// choose returns the lane that a location forces, or the first.
func choose(name string, side pipeline.Side) (Lane, error) {
	if name == "" {
		return lanes[side][0], nil
	}
	var have []string
	for _, l := range lanes[side] {
		if l.Name() == name {
			return l, nil
		}
		have = append(have, l.Name())
	}
	return nil, pipeline.Usage("docker:// has no lane %q for a %s; there is %s", name, side, strings.Join(have, ", "))
}
