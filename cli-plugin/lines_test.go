package cliplugin

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline"
)

// written is a writer that a test may read while others write.
type written struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// The clock of this test is not the machine's, so it is inside the package.
func TestLinesMentionALayerEveryHalfMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &written{}
		l := newLines(&notices{w: out, summary: true})
		layer := digest.FromString("layer")
		l.event(pipeline.Event{Kind: pipeline.EventLayerStart, Layer: layer, Total: 4000})
		l.event(pipeline.Event{Kind: pipeline.EventLayerBytes, Layer: layer, Done: 1000, Total: 4000})
		time.Sleep(reminderInterval + time.Second) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		l.event(pipeline.Event{Kind: pipeline.EventLayerBytes, Layer: layer, Done: 3000, Total: 4000})
		time.Sleep(reminderInterval) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		l.event(pipeline.Event{Kind: pipeline.EventLayerDone, Layer: layer, How: pipeline.HowRewritten})
		time.Sleep(reminderInterval) //nolint:forbidigo // the bubble's clock
		l.close()
		name := layer.Encoded()[:12]
		want := name + ": started (4kB)\n" +
			name + ": 1kB of 4kB after 30.0 s\n" +
			name + ": 3kB of 4kB after 60.0 s\n" +
			name + ": rewritten in 61.0 s\n"
		if got := out.String(); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

// Displays are told of things in any order: what a sink holds has no start, and
// a run that fails ends in the middle.
func TestDisplaysEndWhateverTheyWereTold(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, kind := range []string{progressBars, progressLines, progressJSON, progressNone, progressAuto} {
		out := &written{}
		d := newDisplay(out, false, &options{progress: choice{value: kind}, verbose: true})
		var group sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			group.Go(func() {
				l := digest.FromString(name)
				d.event(pipeline.Event{Kind: pipeline.EventLayerBytes, Layer: l, Done: 1})
				d.event(pipeline.Event{Kind: pipeline.EventLayerStart, Layer: l, Total: 10})
				d.event(pipeline.Event{Kind: pipeline.EventLayerBytes, Layer: l, Done: 5, Total: 10})
				if name == "a" {
					d.event(pipeline.Event{Kind: pipeline.EventLayerDone, Layer: l, How: pipeline.HowCopied})
				}
			})
		}
		group.Wait()
		d.event(pipeline.Event{Kind: pipeline.EventLayerDone, Layer: digest.FromString("d"), How: pipeline.HowHeld})
		d.event(pipeline.Event{Kind: pipeline.EventLayerStart, Layer: "not a digest"})
		d.event(pipeline.Event{Kind: pipeline.EventWarning, Message: "mind\x1b[31m this\nand that"})
		d.close()
		d.report(pipeline.Report{Dropped: []string{"an attestation"}}, "tar://out.tar")
		if got := out.String(); !strings.Contains(got, "mind") || strings.Contains(got, "mind\x1b") {
			t.Errorf("%s: the warning is not shown as it should be: %q", kind, got)
		}
		if got := out.String(); !strings.Contains(got, "an attestation") {
			t.Errorf("%s: the summary is missing: %q", kind, got)
		}
	}
}
