package pull_test

import (
	"context"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
)

// Nothing goes on when it was closed, not even what no client waits for any more: the
// store is closed next.
func TestCloseWaitsForWhatIsDoneOnceForMany(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.image(t, repo, "1", "content")
	came, end := make(chan struct{}), make(chan struct{})
	w := newWorld(t, up, func(c *pull.Config) {
		c.Watch.Received = func(string, string, int64) {
			close(came)
			<-end
		}
	})
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _, _ = w.pull.Backend(host).Manifests.Get(ctx, repo, registry.Ref{Tag: "1"})
	}()
	<-came
	leave()
	<-answered
	closed := make(chan error, 1)
	go func() { closed <- w.pull.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("it was closed, with %v, while it works", err)
	case <-time.After(time.Second / 10): // as long as it would take
	}
	close(end)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, _, err := w.pull.Backend(host).Manifests.Get(t.Context(), repo, registry.Ref{Tag: "2"}); err == nil {
		t.Error("it answers after its end")
	}
}
