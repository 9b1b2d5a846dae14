package pull_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/keep"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// prefix is where the downstream of tests keeps images.
const prefix = "mirrors/ours"

// below is what a repository is called downstream.
const below = prefix + "/" + host + "/" + repo

// into gives a proxy a downstream.
func into(t testing.TB, down *far, more ...func(c *pull.Config)) func(c *pull.Config) {
	t.Helper()
	return func(c *pull.Config) {
		c.Keeper = keep.Downstream(client(t), down.addr(), prefix)
		for _, f := range more {
			f(c)
		}
	}
}

// drain waits for what goes on in the background.
func (w *world) drain() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), longest)
	defer cancel()
	if err := w.pull.Drain(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// tagged is what the tag 1 is downstream; "" for nothing.
func (f *far) tagged(t testing.TB) digest.Digest {
	t.Helper()
	desc, err := f.Backend().Manifests.Stat(t.Context(), below, registry.Ref{Tag: "1"})
	if err != nil {
		return ""
	}
	return desc.Digest
}

// The port of an upstream stands in what its images are called downstream, as far as the
// grammar of names allows.
func TestUpstreamWithAPortIsKeptDownstream(t *testing.T) {
	t.Parallel()
	up, down := newFar(t), newFar(t)
	up.two(t)
	const at = host + ":5000"
	w := newWorld(t, up, into(t, down, func(c *pull.Config) {
		c.Upstreams[0].Host = at
		c.Rule = rule(t, excluding(t))
	}))
	got, _, err := w.pull.Backend(at).Manifests.Get(t.Context(), repo, registry.Ref{Tag: "1"})
	if err != nil {
		t.Fatal(err)
	}
	w.drain()
	kept, err := down.Backend().Manifests.Stat(t.Context(), prefix+"/"+host+".port-5000/"+repo, registry.Ref{Tag: "1"})
	if err != nil || kept.Digest != got.Digest {
		t.Errorf("downstream has %q, the client got %s: %v", kept.Digest, got.Digest, err)
	}
}

func TestMissIsFilteredAndKeptDownstream(t *testing.T) {
	t.Parallel()
	up, down := newFar(t), newFar(t)
	up.two(t)
	filtered := func(c *pull.Config) { c.Rule = rule(t, excluding(t)) }
	w := newWorld(t, up, into(t, down, filtered))
	got := w.want(manifestPath("1"), 200)
	w.drain()
	if d := down.tagged(t); d != got.digest() {
		t.Errorf("downstream has %q, the client got %s", d, got.digest())
	}
	// Another proxy finds it there, and asks upstream for the tag alone.
	up.requests("")
	other := newWorld(t, up, into(t, down, filtered))
	again := other.want(manifestPath("1"), 200)
	if again.digest() != got.digest() {
		t.Errorf("%s, then %s", got.digest(), again.digest())
	}
	other.pullAll(t, again)
	same(t, up.requests(""), "HEAD "+manifestPath("1"))
	if other.counted("downstream") == 0 || other.counted("upstream") != 0 {
		t.Error("it was not downstream that gave it")
	}
	// One with another rule does not.
	third := newWorld(t, up, into(t, down, func(c *pull.Config) { c.Rule = rule(t, denying()) }))
	third.want(manifestPath("1"), 403)
}

func TestTwoProxiesShareUnfilteredImages(t *testing.T) {
	t.Parallel()
	up, down := newFar(t), newFar(t)
	m, _ := up.image(t, repo, "1", "content")
	w := newWorld(t, up, into(t, down))
	w.pullAll(t, w.want(manifestPath("1"), 200))
	eventually(t, "it is downstream", func() bool { return down.tagged(t) == m.Digest })
	w.drain()
	up.requests("")
	other := newWorld(t, up, into(t, down))
	other.pullAll(t, other.want(manifestPath("1"), 200))
	same(t, up.requests(""), "HEAD "+manifestPath("1"))
	other.drain()
}

func TestTwoProxiesShareWhatWasTakenOfAnIndex(t *testing.T) {
	t.Parallel()
	up, down := newFar(t), newFar(t)
	index, bad, good := up.two(t)
	w := newWorld(t, up, into(t, down))
	w.want(manifestPath("1"), 200)
	w.pullAll(t, w.want(manifestPath(good.Digest.String()), 200)) // one platform
	if got := up.requests(bad.Digest.String()); len(got) != 0 {
		t.Errorf("requests for another platform: %q", got)
	}
	eventually(t, "the image is downstream", func() bool {
		_, err := down.Backend().Manifests.Stat(t.Context(), below, registry.Ref{Digest: good.Digest})
		return err == nil
	})
	eventually(t, "the bytes of the index are downstream", func() bool {
		_, err := down.Backend().Blobs.Stat(t.Context(), below, index.Digest)
		return err == nil
	})
	w.drain()
	up.requests("")
	other := newWorld(t, up, into(t, down))
	if got := other.want(manifestPath("1"), 200); got.digest() != index.Digest {
		t.Errorf("%s", got.digest())
	}
	other.pullAll(t, other.want(manifestPath(good.Digest.String()), 200))
	same(t, up.requests(""), "HEAD "+manifestPath("1"))
	// What nobody has taken comes from upstream, and then all of it is downstream.
	other.pullAll(t, other.want(manifestPath(bad.Digest.String()), 200))
	eventually(t, "the index is downstream", func() bool { return down.tagged(t) == index.Digest })
	other.drain()
}

func TestColdProxyAnswersFromDownstreamWhileUpstreamIsGone(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c *pull.Config){
		"filtered": func(c *pull.Config) { c.Rule = rule(t, excluding(t)) }, "unfiltered": func(*pull.Config) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up, down := newFar(t), newFar(t)
			up.two(t)
			w := newWorld(t, up, into(t, down, change))
			first := w.want(manifestPath("1"), 200)
			w.pullAll(t, first)
			eventually(t, "it is downstream", func() bool { return down.tagged(t) == first.digest() })
			w.drain()
			up.fail(status(503))
			cold := newWorld(t, up, into(t, down, change))
			got := cold.want(manifestPath("1"), 200)
			if got.digest() != first.digest() {
				t.Errorf("%s", got.digest())
			}
			cold.pullAll(t, got)
			up.requests("")
			off := newWorld(t, up, into(t, down, change, func(c *pull.Config) { c.Upstreams[0].Offline = true }))
			off.pullAll(t, off.want(manifestPath("1"), 200))
			off.want(manifestPath("2"), 404)
			same(t, up.requests(""))
			cold.drain()
		})
	}
}

// What is downstream under a tag may have come there by another rule, or by none.
func TestColdProxyAnswersWithWhatItsOwnRuleMadeOnly(t *testing.T) {
	t.Parallel()
	up, down := newFar(t), newFar(t)
	up.two(t)
	w := newWorld(t, up, into(t, down))
	index := w.want(manifestPath("1"), 200)
	for _, d := range children(t, index) {
		w.pullAll(t, w.want(manifestPath(d.Digest.String()), 200))
	}
	eventually(t, "it is downstream", func() bool { return down.tagged(t) == index.digest() })
	w.drain()
	up.fail(status(503))
	for name, spec := range map[string]rules.Spec{"refused": denying(), "changed": excluding(t)} {
		cold := newWorld(t, up, into(t, down, func(c *pull.Config) { c.Rule = rule(t, spec) }))
		if got := cold.get(manifestPath("1")); got.status == 200 {
			t.Errorf("%s: an image that the filters have not seen is served: %s", name, got.digest())
		}
		cold.drain()
	}
}

func TestDownstreamThatFailsIsNoReasonToFail(t *testing.T) {
	t.Parallel()
	up, down := newFar(t), newFar(t)
	up.two(t)
	down.fail(status(500))
	w := newWorld(t, up, into(t, down))
	w.pullAll(t, w.want(manifestPath("1"), 200))
	filtered := newWorld(t, up, into(t, down, func(c *pull.Config) { c.Rule = rule(t, excluding(t)) }))
	filtered.pullAll(t, filtered.want(manifestPath("1"), 200))
	w.drain()
	filtered.drain()
	if w.counted("failed downstream") == 0 || filtered.warned() == 0 {
		t.Error("nobody was told")
	}
}

func TestClientIsAnsweredBeforeDownstreamHasTheImage(t *testing.T) {
	t.Parallel()
	up, down := newFar(t), newFar(t)
	up.two(t)
	hold := make(chan struct{})
	down.fail(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			<-hold
		}
		return false
	})
	w := newWorld(t, up, into(t, down, func(c *pull.Config) { c.Rule = rule(t, excluding(t)) }))
	got := w.want(manifestPath("1"), 200)
	w.pullAll(t, got)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := w.pull.Drain(ctx); err == nil {
		t.Error("drained, while an image is on its way")
	}
	close(hold)
	w.drain()
	if d := down.tagged(t); d != got.digest() {
		t.Errorf("downstream has %q", d)
	}
}

func TestHostileDownstreamIsNotBelieved(t *testing.T) {
	t.Parallel()
	up, down := newFar(t), newFar(t)
	m, layer := up.image(t, repo, "1", "content")
	down.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
			_, _ = w.Write([]byte(`{"schemaVersion":2}`))
			return true
		}
		return false
	})
	w := newWorld(t, up, into(t, down))
	if got := w.want(manifestPath("1"), 200); got.digest() != m.Digest {
		t.Errorf("%s", got.digest())
	}
	w.want(blobPath(layer), 200)
	w.drain()
}
