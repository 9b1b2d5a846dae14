package pipeline

import (
	"github.com/opencontainers/go-digest"
)

// Events receives what happens in a run, from many goroutines at once; it must
// return quickly. A nil Events discards.
type Events func(Event)

func (f Events) emit(e Event) {
	if f != nil {
		f(e)
	}
}

// Warn emits a message that the user should read.
func (f Events) Warn(message string) { f.emit(Event{Kind: EventWarning, Message: message}) }

// Detail emits a message for --verbose.
func (f Events) Detail(message string) { f.emit(Event{Kind: EventDetail, Message: message}) }

// An Event is one thing that happened.
type Event struct {
	Kind EventKind
	// Layer names the layer that the event is about: the digest it came with.
	Layer digest.Digest
	// Done and Total are bytes of the stored layer read so far, and its size;
	// Total is 0 while unknown.
	Done, Total int64
	// How says what became of the layer (EventLayerDone).
	How     How
	Message string
	// Lane is the way that an end takes (EventLane).
	Lane *LaneReport
}

// An EventKind says what kind of thing happened.
type EventKind int

// The kinds of events.
const (
	EventLayerStart EventKind = iota // a layer begins to be read
	EventLayerBytes                  // Done of Total bytes were read
	EventLayerDone                   // a layer is where it should be; How says which way
	EventManifest                    // a manifest was committed; Message is its digest
	EventPublished                   // a root can be seen; Message names it
	EventWarning                     // Message is for the user
	EventDetail                      // Message is for --verbose
	EventLane                        // an end has chosen its Lane
)

// How says which way a layer took.
type How string

// The ways that a layer can take.
const (
	HowHeld       How = "held"       // the sink had it; nothing was sent
	HowCached     How = "cached"     // a cache knew what it becomes, and the sink had that; nothing was sent
	HowCopied     How = "copied"     // the stored bytes went through unchanged
	HowRecoded    How = "recoded"    // the tar is the same, its compression is not
	HowRewritten  How = "rewritten"  // a filter changed the tar, which was compressed anew
	HowTranscoded How = "transcoded" // a filter changed the tar, and the compressed stream was edited
	HowForeign    How = "foreign"    // left where its URLs point
	HowSkipped    How = "skipped"    // left out of the image (ForeignSkip)
	HowRead       How = "read"       // looked at, and sent nowhere
)
