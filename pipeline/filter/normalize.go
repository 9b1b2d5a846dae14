package filter

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/tarstream"
)

// maxSeconds is the largest time that every tar dialect can hold: 11 octal
// digits.
const maxSeconds = 1<<33 - 1

// normalize is the filter normalize-timestamps: it takes out of layers what
// depends on when they were built.
//
// mode=set gives every entry of every type (whiteouts, links, PAX global
// headers) the modification time ts and drops access and change times.
//
// mode=clamp looks at each time by itself, as BuildKit's rewrite-timestamp
// does: what is not later than ts came from the inputs of the build, is the
// same in the next build, and stays as it is, fraction included. What is later
// depends on the clock: a modification time becomes ts, an access or change
// time, which no tar needs, goes. So a base layer older than ts is not touched.
//
// With the option base it is normalizeAbove.
//
// The table of contents of an eStargz layer keeps its time: either nothing else
// changes, and the layer stays what it is, or it is dropped.
type normalize struct {
	ts     time.Time
	clamp  bool
	config bool

	recompress pipeline.Recompress
}

var (
	_ pipeline.LayerFilter  = (*normalize)(nil)
	_ pipeline.ConfigFilter = (*normalize)(nil)
)

func normalizeKind(d Defaults) pipeline.FilterKind {
	return pipeline.FilterKind{
		Name: "normalize-timestamps",
		Help: "give all files in all layers one modification time",
		Options: []pipeline.Option{
			{Name: "ts", Aliases: []string{"timestamp"}, Help: "seconds since 1970 (default SOURCE_DATE_EPOCH, else 0)"},
			{Name: "mode", Help: "set all times (set, the default) or only those later than ts (clamp)"},
			{Name: "config", Help: "true also rewrites created and the history of the image config"},
			baseOption,
			pipeline.RecompressOption,
		},
		New: func(o pipeline.FilterOptions) (pipeline.Filter, error) {
			n, err := newNormalize(d, o)
			if err != nil {
				return nil, err
			}
			return n.above(d, o)
		},
	}
}

func newNormalize(d Defaults, o pipeline.FilterOptions) (*normalize, error) {
	seconds, ok, err := o.Int("ts")
	if err != nil {
		return nil, err
	}
	if !ok && d.Epoch != nil {
		seconds = *d.Epoch
	}
	switch outside := seconds < 0 || seconds > maxSeconds; {
	case outside && ok:
		return nil, pipeline.BadValue("ts", o["ts"], fmt.Sprintf("seconds since 1970, from 0 to %d as a tar holds them", maxSeconds))
	case outside:
		return nil, pipeline.Usage("SOURCE_DATE_EPOCH is %d; a tar holds times from 0 to %d seconds since 1970", seconds, maxSeconds)
	}
	n := &normalize{ts: time.Unix(seconds, 0).UTC()}
	switch o["mode"] {
	case "", "set":
	case "clamp":
		n.clamp = true
	default:
		return nil, pipeline.BadValue("mode", o["mode"], "set or clamp")
	}
	if n.config, err = o.Bool("config"); err != nil {
		return nil, err
	}
	n.recompress, err = o.Recompress()
	return n, err
}

// Recipe names all options, given or not: equal effects have equal keys.
func (n *normalize) Recipe() pipeline.Recipe {
	mode := "set"
	if n.clamp {
		mode = "clamp"
	}
	return pipeline.Recipe{
		Key:        fmt.Sprintf("normalize-timestamps:ts=%d,mode=%s,config=%t", n.ts.Unix(), mode, n.config),
		Recompress: n.recompress, Reproducible: true,
	}
}

// Layer returns the handler that changes the times of a layer's entries.
func (n *normalize) Layer(_ context.Context, _ pipeline.LayerInfo, next tarstream.Handler) (tarstream.Handler, error) {
	return &normalizing{n, &tocGuard{next: next}}, nil
}

// normalizing is normalize at work on one layer.
type normalizing struct {
	*normalize
	next *tocGuard
}

var _ tarstream.Handler = (*normalizing)(nil)

// Entry changes the entry's times and passes it on.
func (n *normalizing) Entry(e *tarstream.Entry) error {
	h := e.Header()
	switch {
	case isTOC(h):
	case !n.clamp:
		// Also where all times are right already: a PAX header that says them
		// once more has to go.
		h = e.Edit()
		h.ModTime, h.AccessTime, h.ChangeTime = n.ts, time.Time{}, time.Time{}
	case n.late(h.ModTime) || n.late(h.AccessTime) || n.late(h.ChangeTime):
		n.clampTimes(e.Edit())
	}
	return n.next.Entry(e)
}

// End ends the layer.
func (n *normalizing) End(rest io.Reader) error { return n.next.End(rest) }

func (n *normalize) late(t time.Time) bool { return t.After(n.ts) }

func (n *normalize) clampTimes(h *tarstream.Header) {
	if n.late(h.ModTime) {
		h.ModTime = n.ts
	}
	if n.late(h.AccessTime) {
		h.AccessTime = time.Time{}
	}
	if n.late(h.ChangeTime) {
		h.ChangeTime = time.Time{}
	}
}
