//go:build unix

package fault

import (
	"context"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
)

// downKills is how often a proxy is killed whose images go to another registry; with
// -short it is fewDownKills.
const downKills, fewDownKills = 60, 8

// kill -9 at any moment of a proxy with a downstream: what was answered is there, by
// the proxy and without it; nothing has a name there that is not whole; and what was cut
// can be done again.
func TestKilledProxyLosesNothingDownstream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	up, down := proxytest.NewRegistry(t), proxytest.NewRegistry(t)
	c := newChild(t, settings(dir, up.Host, fmt.Sprintf("downstream = %q", down.Host+"/kept"), "insecure = true"))
	workers := allWorkers(t, c.base, up)
	for _, w := range workers {
		w.down = down
	}
	killAll(c, workers, often(downKills, fewDownKills), func() { c.kill(); down.HangUp(t) }, func() {
		verify(t, dir)
		whole(t, workers)
	})

	// What clients pull arrives downstream after they have it.
	c.start()
	for _, w := range workers {
		if !w.pulls {
			continue
		}
		must(t, w.pull(c.life, "t0"))
		eventually(t, w.name+" is downstream", func() bool {
			got, err := tagged(c.life, down.Client, w.kept(), "t0")
			must(t, err)
			return got != ""
		})
	}
	must(t, <-c.term())
	whole(t, workers)
}

// kept is where the worker's repository is downstream.
func (w *worker) kept() string {
	if w.pulls {
		return "kept/up.example/" + w.repo
	}
	return "kept/" + w.repo
}

// below complains unless a tag leads to the same downstream, if there is one.
func (w *worker) below(ctx context.Context, tag string, want digest.Digest) error {
	if w.down == nil {
		return nil
	}
	got, err := tagged(ctx, w.down.Client, w.kept(), tag)
	if err == nil && got != want {
		err = fmt.Errorf("tag %s leads to %q downstream, and to %q by the proxy", tag, got, want)
	}
	return err
}

// whole complains about every tag downstream that leads to something incomplete, those
// by which proxies find what they have made among them.
func whole(t *testing.T, workers []*worker) {
	t.Helper()
	ctx := context.Background()
	for _, w := range workers {
		tags, err := w.down.Tags(ctx, w.kept())
		must(t, err)
		for _, tag := range tags {
			if got, err := tagged(ctx, w.down.Client, w.kept(), tag); err != nil || got == "" {
				t.Errorf("downstream: %q, %v", got, err)
			}
		}
	}
}
