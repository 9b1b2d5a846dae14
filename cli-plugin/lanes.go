package cliplugin

import (
	"fmt"
	"io"
	"strings"

	"github.com/occystrap/occystrap/pipeline"
)

// laneReport is a pipeline.LaneReport as programs get it.
type laneReport struct {
	Side   string       `json:"side"`
	Place  string       `json:"place"`
	Lane   string       `json:"lane"`
	Why    string       `json:"why"`
	Forced bool         `json:"forced,omitempty"`
	Passed []passedLane `json:"passed,omitempty"`
	Disk   int64        `json:"peakDisk,omitempty"`
}

// passedLane is a lane that did not fit.
type passedLane struct {
	Lane string `json:"lane"`
	Why  string `json:"why"`
}

func newLaneReport(l pipeline.LaneReport) laneReport {
	out := laneReport{Side: string(l.Side), Place: l.Place, Lane: l.Lane, Why: l.Why, Forced: l.Forced, Disk: l.Disk}
	for _, p := range l.Passed {
		out.Passed = append(out.Passed, passedLane(p))
	}
	return out
}

// laneLine tells a person which lane an end takes, and why no other.
func laneLine(l pipeline.LaneReport) string {
	way := "out of"
	if l.Side == pipeline.SinkSide {
		way = "into"
	}
	line := fmt.Sprintf("lane %s %s %s: %s", l.Lane, way, l.Place, l.Why)
	if l.Forced {
		line += ", as was asked for"
	}
	var not []string
	for _, p := range l.Passed {
		not = append(not, fmt.Sprintf("%s (%s)", p.Lane, p.Why))
	}
	if len(not) > 0 {
		line += "; not " + strings.Join(not, ", ")
	}
	return pipeline.OneLine(line)
}

// writeDisk tells what the ends put into temporary files.
func writeDisk(w io.Writer, lanes []pipeline.LaneReport) {
	for _, l := range lanes {
		if l.Disk > 0 {
			fmt.Fprintf(w, "lane %s held up to %s in temporary files\n", l.Lane, human(l.Disk))
		}
	}
}
