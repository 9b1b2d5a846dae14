package cliplugin

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/occystrap/occystrap/pipeline"
)

// bars is the display for terminals: one bar for each layer under way. Finished
// ones scroll up.
type bars struct {
	notices
	terminal  io.Writer
	container *mpb.Progress
	layersMu  sync.Mutex
	layers    map[digest.Digest]*layerBar
}

type layerBar struct {
	*mpb.Bar
	how atomic.Pointer[string]
}

// barWidth leaves room for digest, sizes and speed on 80 columns.
const barWidth = 30

var _ display = (*bars)(nil)

func newBars(text *notices) *bars {
	// Whoever asks for bars gets them, also where mpb sees no terminal.
	container := mpb.New(mpb.WithOutput(text.w), mpb.PopCompletedMode(), mpb.WithAutoRefresh())
	return &bars{
		// What is printed through the container scrolls above the bars.
		notices:   notices{w: container, details: text.details, summary: text.summary, table: text.table},
		terminal:  text.w,
		container: container,
		layers:    map[digest.Digest]*layerBar{},
	}
}

func (b *bars) event(e pipeline.Event) {
	switch e.Kind {
	case pipeline.EventLayerStart:
		b.bar(e)
	case pipeline.EventLayerBytes:
		bar := b.bar(e)
		if e.Total > 0 {
			bar.SetTotal(e.Total, false)
		}
		bar.SetCurrent(e.Done)
	case pipeline.EventLayerDone:
		bar := b.bar(e)
		how := string(e.How)
		bar.how.Store(&how)
		bar.SetTotal(-1, true)
	default:
		b.notices.event(e)
	}
}

// bar is the bar of the layer that e is about; a layer that the sink held has
// no start, so any event may bring it.
func (b *bars) bar(e pipeline.Event) *layerBar {
	b.layersMu.Lock()
	defer b.layersMu.Unlock()
	if bar := b.layers[e.Layer]; bar != nil {
		return bar
	}
	bar := &layerBar{}
	state := func(s decor.Statistics) string {
		if how := bar.how.Load(); how != nil && s.Completed {
			return *how
		}
		return amount(s.Current, s.Total)
	}
	// A bar that is born with a total ends when it reaches it; ours end when the
	// layer is where it should be.
	bar.Bar = b.container.AddBar(0, mpb.BarWidth(barWidth),
		mpb.PrependDecorators(decor.Name(shortDigest(e.Layer), decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Any(state, decor.WCSyncSpaceR)))
	bar.SetTotal(e.Total, false)
	b.layers[e.Layer] = bar
	return bar
}

func (b *bars) close() {
	b.layersMu.Lock()
	for _, bar := range b.layers {
		if !bar.Completed() {
			bar.Abort(true)
		}
	}
	b.layersMu.Unlock()
	b.container.Wait()
}

func (b *bars) report(r pipeline.Report, to string) {
	b.w = b.terminal
	b.notices.report(r, to)
}
