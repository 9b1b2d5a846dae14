package cliplugin

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// jsonInterval is how often the progress of one layer is told to a program.
const jsonInterval = 250 * time.Millisecond

// jsonEvents is the display for programs: one JSON object on a line for each
// event, and the summary as the last.
type jsonEvents struct {
	mu      sync.Mutex
	w       io.Writer
	details bool
	told    map[digest.Digest]time.Time
}

// jsonEvent is one line. Fields that say nothing are left out.
type jsonEvent struct {
	Time    time.Time     `json:"time"`
	Event   string        `json:"event"`
	Layer   digest.Digest `json:"layer,omitempty"`
	Done    int64         `json:"done,omitempty"`
	Total   int64         `json:"total,omitempty"`
	How     pipeline.How  `json:"how,omitempty"`
	Message string        `json:"message,omitempty"`
	Lane    *laneReport   `json:"lane,omitempty"`
	Report  *report       `json:"report,omitempty"`
}

var eventNames = map[pipeline.EventKind]string{
	pipeline.EventLayerStart: "layer-start",
	pipeline.EventLayerBytes: "layer-bytes",
	pipeline.EventLayerDone:  "layer-done",
	pipeline.EventManifest:   "manifest",
	pipeline.EventPublished:  "published",
	pipeline.EventWarning:    "warning",
	pipeline.EventDetail:     "detail",
	pipeline.EventLane:       "lane",
}

var _ display = (*jsonEvents)(nil)

func (j *jsonEvents) event(e pipeline.Event) {
	if e.Kind == pipeline.EventDetail && !j.details {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if e.Kind == pipeline.EventLayerBytes {
		if now.Sub(j.told[e.Layer]) < jsonInterval {
			return
		}
		if j.told == nil {
			j.told = map[digest.Digest]time.Time{}
		}
		j.told[e.Layer] = now
	}
	line := jsonEvent{
		Time: now, Event: eventNames[e.Kind], Layer: e.Layer,
		Done: e.Done, Total: e.Total, How: e.How, Message: e.Message,
	}
	if e.Lane != nil {
		lane := newLaneReport(*e.Lane)
		line.Lane = &lane
	}
	j.write(line)
}

func (j *jsonEvents) close() {}

func (j *jsonEvents) report(r pipeline.Report, to string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.write(jsonEvent{Time: time.Now(), Event: "summary", Report: newReport(r, to)})
}

// write gives up on an error as printing does: nobody is left to tell.
func (j *jsonEvents) write(e jsonEvent) {
	line, err := json.Marshal(e)
	if err != nil {
		return
	}
	_, _ = j.w.Write(append(tame(line), '\n'))
}
