package pull_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/occystrap/occystrap/sidecar/proxy/pull"
)

func TestPullThrough(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, layer := up.image(t, repo, "1", "content")
	config := up.blobs(t, repo, m.Digest)[0]
	w := newWorld(t, up, nil)
	for round := range 2 {
		if got := w.want(manifestPath("1"), 200); got.digest() != m.Digest || int64(len(got.body)) != m.Size {
			t.Errorf("manifest %s", got.digest())
		}
		for _, d := range up.blobs(t, repo, m.Digest) {
			if got := w.want(blobPath(d), 200); d.Algorithm().FromString(got.body) != d {
				t.Errorf("blob %s has other bytes", d)
			}
		}
		w.want(manifestPath(m.Digest.String()), 200)
		if round == 0 { // one question for each
			same(t, up.requests(""), "GET "+manifestPath("1"), "GET "+blobPath(config), "GET "+blobPath(layer))
			eventually(t, "the blobs are kept", func() bool {
				_, err := w.spaces.get("mirror/"+host).Backend().Blobs.Stat(t.Context(), repo, layer)
				_, err2 := w.spaces.get("mirror/"+host).Backend().Blobs.Stat(t.Context(), repo, config)
				return err == nil && err2 == nil
			})
		}
	}
	same(t, up.requests("")) // and none again
	if w.counted("upstream") == 0 || w.counted("blob true") != 2 || w.counted("blob false") != 2 {
		t.Error("hits and misses are not counted")
	}
}

func TestTagIsBelievedForItsTime(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	old, _ := up.image(t, repo, "1", "old")
	w := newWorld(t, up, func(c *pull.Config) { c.Upstreams[0].Times = pull.Times{StaleWhile: -1} })
	w.want(manifestPath("1"), 200)
	up.requests("")
	moved, _ := up.image(t, repo, "1", "new")
	w.clock.add(pull.DefaultTTL - time.Second)
	if got := w.want(manifestPath("1"), 200); got.digest() != old.Digest {
		t.Errorf("before its time: %s", got.digest())
	}
	same(t, up.requests(""))
	w.clock.add(time.Second)
	if got := w.want(manifestPath("1"), 200); got.digest() != moved.Digest {
		t.Errorf("after its time: %s, want %s", got.digest(), moved.Digest)
	}
	same(t, up.requests(""), "HEAD "+manifestPath("1"), "GET "+manifestPath(moved.Digest.String()))
	w.clock.add(pull.DefaultTTL)
	w.want(manifestPath("1"), 200)
	same(t, up.requests(""), "HEAD "+manifestPath("1")) // it has not moved: no body
	w.want(manifestPath(old.Digest.String()), 200)
	same(t, up.requests(""))
}

func TestOldTagIsAnsweredWhileItIsChecked(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	old, _ := up.image(t, repo, "1", "old")
	w := newWorld(t, up, nil)
	w.want(manifestPath("1"), 200)
	moved, _ := up.image(t, repo, "1", "new")
	up.requests("")
	hold := make(chan struct{})
	up.fail(func(http.ResponseWriter, *http.Request) bool {
		<-hold
		return false
	})
	w.clock.add(pull.DefaultTTL + time.Second)
	for range 5 { // upstream does not answer, and nobody waits for it
		if got := w.want(manifestPath("1"), 200); got.digest() != old.Digest {
			t.Errorf("meanwhile: %s", got.digest())
		}
	}
	close(hold)
	eventually(t, "the tag moves", func() bool { return w.want(manifestPath("1"), 200).digest() == moved.Digest })
	same(t, up.requests("HEAD"), "HEAD "+manifestPath("1")) // one check
}

func TestOldTagIsAnsweredWhileUpstreamFails(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"500": status(500), "502": status(502), "503": status(503), "429": status(429, "Retry-After", "3600"),
		"cut": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := newFar(t)
			m, layer := up.image(t, repo, "1", "content")
			w := newWorld(t, up, func(c *pull.Config) { c.Upstreams[0].Times = pull.Times{StaleWhile: -1} })
			w.want(manifestPath("1"), 200)
			w.want(blobPath(layer), 200)
			up.fail(fault)
			for range 3 {
				w.clock.add(24 * time.Hour)
				if got := w.want(manifestPath("1"), 200); got.digest() != m.Digest {
					t.Errorf("%s", got.digest())
				}
				w.want(blobPath(layer), 200)
			}
			if n := len(up.requests("HEAD")); n == 0 {
				t.Error("upstream was not asked")
			}
			w.clock.add(pull.DefaultStaleError)
			if got := w.get(manifestPath("1")); got.status < 429 {
				t.Errorf("after its last time: status %d", got.status)
			}
		})
	}
}

func TestStormIsNotSentToABrokenUpstream(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.image(t, repo, "1", "content")
	w := newWorld(t, up, func(c *pull.Config) { c.Upstreams[0].Times = pull.Times{StaleWhile: -1} })
	w.want(manifestPath("1"), 200)
	up.fail(status(502))
	w.clock.add(time.Hour)
	up.requests("")
	for range 20 {
		w.want(manifestPath("1"), 200)
	}
	if n := len(up.requests("")); n != 1 {
		t.Errorf("%d requests upstream", n)
	}
}

func TestOfflineNeverAsks(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, layer := up.image(t, repo, "1", "content")
	up.image(t, repo, "2", "other")
	in := &spaces{dir: t.TempDir(), m: map[string]*space{}}
	w := newWorldIn(t, up, in, nil)
	w.want(manifestPath("1"), 200)
	w.want(blobPath(layer), 200)
	up.requests("")
	off := newWorldIn(t, up, in, func(c *pull.Config) { c.Upstreams[0].Offline = true })
	off.clock.add(365 * 24 * time.Hour)
	if got := off.want(manifestPath("1"), 200); got.digest() != m.Digest {
		t.Errorf("%s", got.digest())
	}
	off.want(blobPath(layer), 200)
	for _, path := range []string{manifestPath("2"), blobPath("sha256:" + "00000000000000000000000000000000000000000000000000000000000000aa"), "no/such/manifests/1"} {
		if got := off.want(path, 404); !strings.Contains(got.body, "_UNKNOWN") {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	if got := off.want(repo+"/tags/list", 200); !strings.Contains(got.body, `["1"]`) {
		t.Errorf("tags: %s", got.body)
	}
	off.want(repo+"/referrers/"+m.Digest.String(), 200)
	same(t, up.requests(""))
}

func TestVanishedTag(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, _ := up.image(t, repo, "1", "content")
	w := newWorld(t, up, func(c *pull.Config) { c.Upstreams[0].Times = pull.Times{StaleWhile: -1} })
	w.want(manifestPath("1"), 200)
	if err := up.Backend().Tags.Delete(t.Context(), repo, "1"); err != nil {
		t.Fatal(err)
	}
	w.clock.add(time.Hour)
	w.want(manifestPath("1"), 404)
	w.want(manifestPath(m.Digest.String()), 200)
	up.fail(status(502))
	w.clock.add(time.Minute)
	if got := w.get(manifestPath("1")); got.status == 200 {
		t.Error("the tag came back")
	}
}

func TestClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.image(t, repo, "1", "old")
	w := newWorld(t, up, nil)
	w.want(manifestPath("1"), 200)
	moved, _ := up.image(t, repo, "1", "new")
	w.clock.add(-30 * 24 * time.Hour) // the tag was checked in the future
	if got := w.want(manifestPath("1"), 200); got.digest() != moved.Digest {
		t.Errorf("%s, want %s", got.digest(), moved.Digest)
	}
	w.clock.add(365 * 24 * time.Hour)
	up.fail(status(500))
	if got := w.get(manifestPath("1")); got.status != 502 { // a year is beyond its last time
		t.Errorf("status %d", got.status)
	}
}

func TestOneQuestionForManyClients(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, layer := up.image(t, repo, "1", "content")
	hold := make(chan struct{})
	up.fail(func(http.ResponseWriter, *http.Request) bool {
		<-hold
		return false
	})
	w := newWorld(t, up, nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got := w.get(manifestPath("1")); got.status != 200 || got.digest() != m.Digest {
				t.Errorf("manifest: status %d", got.status)
			}
		})
		wg.Go(func() {
			if got := w.get(blobPath(layer)); layer.Algorithm().FromString(got.body) != layer {
				t.Errorf("blob: status %d, %v", got.status, got.err)
			}
		})
	}
	eventually(t, "upstream is asked", func() bool {
		up.mu.Lock()
		defer up.mu.Unlock()
		return len(up.asked) == 2
	})
	close(hold)
	wg.Wait()
	if got := up.requests(""); len(got) != 2 {
		t.Errorf("requests: %q", got)
	}
}
