package daemon

import (
	"context"
	"iter"

	"github.com/occystrap/occystrap/pipeline"
)

// A Lane is one of several ways to get the same bytes out of a daemon, or into
// one. Lanes that need more than the Engine API live in plugin/ and are handed in
// by Config.Lanes.
type Lane interface {
	// Name is the value of ?lane= that forces the lane.
	Name() string
	// Fits says whether the lane works at a daemon for a side, without changing
	// anything there: why it is a good one in a few words ("as root, from its
	// files"), or the reason against it, which a person reads.
	Fits(ctx context.Context, side pipeline.Side, p *Place) (why string, err error)
	// Source reads the images of t, which the lane fits; nil when it leads in only.
	// Open returns Unfit when it turns out that the lane does not work.
	Source(t Target) pipeline.Source
	// Sink writes to the daemon of t, which the lane fits; nil when it leads out
	// only. Where it is Limited, Capacity returns Unfit when it turns out that the
	// lane does not work; it is asked first.
	Sink(t Target) pipeline.Sink
}

// A Lister is a lane whose source lists the layers of images without moving one.
// Of other lanes' images the daemon's own word is taken where nothing may be
// moved (pipeline.Query.Foresight).
type Lister interface {
	Lane
	Lists()
}

// A Stocktaker is a lane that lists the layers in a daemon's store.
type Stocktaker interface {
	Lane
	Holdings(ctx context.Context, p *Place, limits pipeline.Limits) iter.Seq2[pipeline.Holding, error]
}

// A Target is a daemon, and images in it.
type Target struct {
	// Place is the daemon. Its client is closed after what the lane has opened.
	Place *Place
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

// The names of lanes, as in ?lane=.
const (
	LaneContent = "content" // containerd's content store
	LaneLayers  = "layers"  // the graph driver's files
	LanePush    = "push"    // the daemon pushes to us
	LaneSave    = "save"    // the Engine API's export
	LanePull    = "pull"    // the daemon pulls from us
	LaneLoad    = "load"    // the Engine API's load
)

// preference is the order in which lanes are looked at, by what was measured: a
// graph driver compresses anew for a push, and knows pulled layers by a digest
// that other lanes do not give.
var preference = map[pipeline.Side]map[Store][]string{
	pipeline.SourceSide: {
		StoreContainerd: {LaneContent, LanePush, LaneSave, LaneLayers},
		StoreGraph:      {LaneLayers, LaneSave, LanePush, LaneContent},
		StorePodman:     {LaneSave, LanePush, LaneContent, LaneLayers},
		StoreUnknown:    {LaneSave, LanePush, LaneContent, LaneLayers},
	},
	pipeline.SinkSide: {
		StoreContainerd: {LaneContent, LanePull, LaneLoad},
		StoreGraph:      {LaneLoad, LanePull, LaneContent},
		StorePodman:     {LaneLoad, LanePull, LaneContent},
		StoreUnknown:    {LaneLoad, LanePull, LaneContent},
	},
}

// An UnfitError says that a lane does not work here; nothing was moved, so another
// one may.
type UnfitError struct{ Err error }

// Error is the reason.
func (e *UnfitError) Error() string { return e.Err.Error() }

// Unwrap is the reason.
func (e *UnfitError) Unwrap() error { return e.Err }

// Unfit marks err as a reason to take the next lane.
func Unfit(err error) error { return &UnfitError{err} }
