package cliplugin

import (
	"fmt"
	"io"
	"sync"

	"github.com/occystrap/occystrap/pipeline"
)

// notices is the display without progress: warnings, details if asked for, and
// the summary. The other displays for people are built on it.
type notices struct {
	mu      sync.Mutex
	w       io.Writer
	details bool // --verbose
	summary bool
	table   bool // what became of each layer
}

var _ display = (*notices)(nil)

func (n *notices) event(e pipeline.Event) {
	if s := n.message(e); s != "" {
		n.print(s)
	}
}

// message is the line for an event that has one whatever the display.
func (n *notices) message(e pipeline.Event) string {
	switch {
	case e.Kind == pipeline.EventWarning:
		return "Warning: " + pipeline.OneLine(e.Message)
	case e.Kind == pipeline.EventDetail && n.details && e.Layer != "":
		return shortDigest(e.Layer) + ": " + pipeline.OneLine(e.Message)
	case e.Kind == pipeline.EventDetail && n.details:
		return pipeline.OneLine(e.Message)
	case e.Kind == pipeline.EventLane && n.details && e.Lane != nil:
		return laneLine(*e.Lane)
	case e.Kind == pipeline.EventManifest && n.details:
		return "manifest " + pipeline.OneLine(e.Message)
	}
	return ""
}

func (n *notices) print(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintln(n.w, line)
}

func (n *notices) close() {}

func (n *notices) report(r pipeline.Report, to string) {
	if n.summary {
		writeSummary(n.w, r, to, n.table)
	}
}
