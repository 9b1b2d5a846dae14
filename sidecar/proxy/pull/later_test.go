package pull_test

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
)

// ways runs a test with images that go downstream as they are, and changed.
func ways(t *testing.T, test func(t *testing.T, change func(c *pull.Config))) {
	t.Helper()
	for name, change := range map[string]func(c *pull.Config){
		"filtered": func(c *pull.Config) { c.Rule = rule(t, excluding(t)) }, "unfiltered": func(*pull.Config) {},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, change) })
	}
}

// at is what a tag is downstream; "" for nothing.
func (f *far) at(t testing.TB, tag string) digest.Digest {
	t.Helper()
	desc, err := f.Backend().Manifests.Stat(t.Context(), below, registry.Ref{Tag: tag})
	if err != nil {
		return ""
	}
	return desc.Digest
}

// An image that downstream did not take is sent again when it is asked for later.
func TestWhatDownstreamRefusedIsSentAgain(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, change func(c *pull.Config)) {
		up, down := newFar(t), newFar(t)
		up.image(t, repo, "1", "content")
		down.fail(status(500))
		w := newWorld(t, up, into(t, down, change))
		got := w.want(manifestPath("1"), 200)
		w.pullAll(t, got)
		eventually(t, "it was refused", func() bool { return w.warned() > 0 })
		down.fail(nil)
		eventually(t, "it is downstream", func() bool {
			w.clock.add(time.Minute) // each time that it is asked for
			w.want(manifestPath("1"), 200)
			return down.at(t, "1") == got.digest()
		})
	})
}

// A process that ends before downstream has an image leaves it to the next one.
func TestWhatWasOnItsWayIsSentByTheNextProcess(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, change func(c *pull.Config)) {
		up, down := newFar(t), newFar(t)
		up.image(t, repo, "1", "content")
		in := &spaces{dir: t.TempDir(), m: map[string]*space{}}
		down.fail(status(500))
		first := newWorldIn(t, up, in, into(t, down, change))
		got := first.want(manifestPath("1"), 200)
		first.pullAll(t, got)
		first.drain()
		down.fail(nil)
		next := newWorldIn(t, up, in, into(t, down, change))
		next.want(manifestPath("1"), 200)
		next.drain()
		if d := down.at(t, "1"); d != got.digest() {
			t.Errorf("downstream has %q, want %s", d, got.digest())
		}
		// And what it has is not sent once more.
		down.requests("")
		again := newWorldIn(t, up, in, into(t, down, change))
		again.want(manifestPath("1"), 200)
		again.drain()
		if sent := down.requests("POST "); len(sent) > 0 {
			t.Errorf("sent again: %q", sent)
		}
	})
}

// Every tag of an image is downstream, also those that it got after it was made, and
// in another proxy.
func TestOtherTagsOfAnImageAreDownstreamToo(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, change func(c *pull.Config)) {
		up, down := newFar(t), newFar(t)
		for _, tag := range []string{"1", "2", "3"} {
			up.image(t, repo, tag, "content")
		}
		w := newWorld(t, up, into(t, down, change))
		got := w.want(manifestPath("1"), 200)
		w.pullAll(t, got)
		w.want(manifestPath("2"), 200)
		w.drain()
		other := newWorld(t, up, into(t, down, change))
		other.pullAll(t, other.want(manifestPath("3"), 200))
		other.drain()
		for _, tag := range []string{"1", "2", "3"} {
			if d := down.at(t, tag); d != got.digest() {
				t.Errorf("tag %s is %q downstream, want %s", tag, d, got.digest())
			}
		}
		up.fail(status(503))
		for _, tag := range []string{"1", "2", "3"} {
			cold := newWorld(t, up, into(t, down, change))
			if d := cold.want(manifestPath(tag), 200).digest(); d != got.digest() {
				t.Errorf("a cold proxy has %s for tag %s, want %s", d, tag, got.digest())
			}
			cold.drain()
		}
	})
}

// A tag that moves, and moves back, does so downstream.
func TestTagMovesBackDownstream(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, change func(c *pull.Config)) {
		up, down := newFar(t), newFar(t)
		w := newWorld(t, up, into(t, down, change))
		for _, content := range []string{"old", "new", "old"} {
			up.image(t, repo, "1", content)
			w.clock.add(24 * time.Hour) // nothing is believed any more
			got := w.want(manifestPath("1"), 200)
			w.pullAll(t, got)
			eventually(t, content+" is downstream", func() bool { return down.at(t, "1") == got.digest() })
		}
	})
}
