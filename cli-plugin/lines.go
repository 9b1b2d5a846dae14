package cliplugin

import (
	"fmt"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
)

// reminderInterval is how often a layer under way is mentioned where no bar
// shows it: often enough for whoever watches a build's log.
const reminderInterval = 30 * time.Second

// lines is the display for files and pipes: a line where a layer starts and
// ends, and one every 30 s in between.
type lines struct {
	notices
	layersMu sync.Mutex
	layers   map[digest.Digest]*underWay
	order    []digest.Digest
	stop     chan struct{}
	stopped  chan struct{}
}

// underWay is a layer that has started and not ended.
type underWay struct {
	since       time.Time
	done, total int64
}

var _ display = (*lines)(nil)

func newLines(text *notices) *lines {
	l := &lines{
		notices: notices{w: text.w, details: text.details, summary: text.summary, table: text.table},
		layers:  map[digest.Digest]*underWay{},
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	go l.remind()
	return l
}

// remind ends with close, which waits for it.
func (l *lines) remind() {
	defer close(l.stopped)
	tick := time.NewTicker(reminderInterval)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			for _, line := range l.reminders() {
				l.print(line)
			}
		}
	}
}

func (l *lines) reminders() []string {
	l.layersMu.Lock()
	defer l.layersMu.Unlock()
	var out []string
	for _, d := range l.order {
		if u := l.layers[d]; u != nil {
			out = append(out, fmt.Sprintf("%s: %s after %s", shortDigest(d), amount(u.done, u.total), seconds(time.Since(u.since))))
		}
	}
	return out
}

func (l *lines) event(e pipeline.Event) {
	switch e.Kind {
	case pipeline.EventLayerStart:
		l.layersMu.Lock()
		l.layers[e.Layer] = &underWay{since: time.Now(), total: e.Total}
		l.order = append(l.order, e.Layer)
		l.layersMu.Unlock()
		l.print(fmt.Sprintf("%s: started%s", shortDigest(e.Layer), ofSize(e.Total)))
	case pipeline.EventLayerBytes:
		l.layersMu.Lock()
		if u := l.layers[e.Layer]; u != nil {
			u.done, u.total = e.Done, max(u.total, e.Total)
		}
		l.layersMu.Unlock()
	case pipeline.EventLayerDone:
		l.layersMu.Lock()
		u := l.layers[e.Layer]
		delete(l.layers, e.Layer)
		l.layersMu.Unlock()
		line := fmt.Sprintf("%s: %s", shortDigest(e.Layer), e.How)
		if u != nil {
			line += " in " + seconds(time.Since(u.since))
		}
		l.print(line)
	default:
		l.notices.event(e)
	}
}

func (l *lines) close() {
	close(l.stop)
	<-l.stopped
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// amount is how far a layer is; total is 0 where nobody knows it.
func amount(done, total int64) string {
	if total <= 0 {
		return units.HumanSize(float64(done))
	}
	return fmt.Sprintf("%s of %s", units.HumanSize(float64(done)), units.HumanSize(float64(total)))
}

func ofSize(total int64) string {
	if total <= 0 {
		return ""
	}
	return " (" + units.HumanSize(float64(total)) + ")"
}
