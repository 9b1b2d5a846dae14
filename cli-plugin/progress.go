package cliplugin

import (
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// The values of --progress.
const (
	progressAuto  = "auto"
	progressBars  = "bars"
	progressLines = "lines"
	progressJSON  = "json"
	progressNone  = "none"
)

// A display shows what happens in a run.
type display interface {
	// event shows one event; it may be called from many goroutines.
	event(e pipeline.Event)
	// close ends the display; what is not done then was given up.
	close()
	// report shows what a finished run did, and where to, after close.
	report(r pipeline.Report, to string)
}

// newDisplay makes the display that the options ask for. Bars need a terminal.
func newDisplay(w io.Writer, terminal bool, o *options) display {
	kind := o.progress.value
	switch {
	case o.quiet && kind != progressJSON:
		return &notices{w: w}
	case kind == progressAuto && terminal:
		kind = progressBars
	case kind == progressAuto:
		kind = progressLines
	}
	text := &notices{w: w, summary: true, table: o.detailed(), details: o.detailed()}
	switch kind {
	case progressBars:
		return newBars(text)
	case progressJSON:
		return &jsonEvents{w: w, details: o.detailed()}
	case progressNone:
		return text
	}
	return newLines(text)
}

// shortDigest names a layer where a person reads it. The digest is what a
// source claims, so it may be anything.
func shortDigest(d digest.Digest) string {
	const length = 12 // as "docker images" shows it
	if d.Validate() != nil {
		return pipeline.OneLine(string(d))
	}
	return d.Encoded()[:length]
}
