package pull_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// lines collects what is told of images.
type lines struct {
	mu   sync.Mutex
	list []pull.Image
}

func (l *lines) watch(c *pull.Config) {
	c.Watch.Pulled = func(i pull.Image) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = append(l.list, i)
	}
}

// one is the only image that was told since the last call.
func (l *lines) one(t *testing.T) pull.Image {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) != 1 {
		t.Fatalf("%d images were told: %+v", len(l.list), l.list)
	}
	i := l.list[0]
	l.list = nil
	return i
}

// none says that no image was told since the last call.
func (l *lines) none(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) != 0 {
		t.Errorf("images were told: %+v", l.list)
	}
}

func TestAnImageThatIsMirroredIsToldOnce(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, _ := up.image(t, repo, "1", "content")
	var told lines
	w := newWorld(t, up, told.watch)
	w.want(manifestPath("1"), 200)
	if i := told.one(t); i.Host != host || i.Repository != repo || !slices.Equal(i.Tags, []string{"1"}) || i.Received != m.Digest || i.Stored != m.Digest || i.Bytes <= m.Size || i.Err != nil {
		t.Errorf("%+v", i)
	}
	w.want(manifestPath("1"), 200)
	w.want(manifestPath(m.Digest.String()), 200)
	w.want(manifestPath("2"), 404)
	told.none(t)
}

func TestAnImageThatIsFilteredIsToldOnce(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	index, _, _ := up.two(t)
	var told lines
	w := newWorld(t, up, func(c *pull.Config) {
		c.Rule = rule(t, excluding(t))
		told.watch(c)
	})
	made := w.want(manifestPath("1"), 200)
	if i := told.one(t); i.Received != index.Digest || i.Stored != made.digest() || !slices.Equal(i.Tags, []string{"1"}) || i.Bytes == 0 || i.Err != nil {
		t.Errorf("%+v", i)
	}
	w.want(manifestPath("1"), 200)
	told.none(t)
}

func TestAnImageThatIsRefusedIsTold(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, _ := up.image(t, repo, "1", "content")
	for name, path := range map[string]string{"by its tag": manifestPath("1"), "by its digest": manifestPath(m.Digest.String())} {
		var told lines
		w := newWorld(t, up, func(c *pull.Config) {
			c.Rule = rule(t, rules.Spec{Filters: []string{"deny:pattern=file"}})
			told.watch(c)
		})
		w.want(path, 403)
		if i := told.one(t); i.Received != m.Digest || i.Stored != "" || i.Err == nil || !strings.Contains(i.Err.Error(), "deny refuses") {
			t.Errorf("%s: %+v", name, i)
		}
	}
}

// containerd asks what a tag is, and gets that by its digest: what it pulled so is listed and
// pinned by its name like anything else.
func TestATagThatWasAskedForFirstNamesTheManifest(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	m, _ := up.image(t, repo, "1", "content")
	w := newWorld(t, up, nil)
	tags := func() []string {
		list, err := w.spaces.get("mirror/"+host).Backend().Tags.List(t.Context(), repo, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if got := w.head(manifestPath("1")); got.digest() != m.Digest {
		t.Fatalf("HEAD says %s", got.digest())
	}
	w.want(manifestPath(m.Digest.String()), 200)
	if got := tags(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("tags are %q", got)
	}
	// A tag that has moved away since does not come back with the old digest.
	old, _ := up.image(t, repo, "2", "second")
	w.head(manifestPath("2"))
	moved, _ := up.image(t, repo, "2", "third")
	w.clock.add(pull.DefaultTTL + pull.DefaultStaleError)
	if got := w.head(manifestPath("2")); got.digest() != moved.Digest {
		t.Fatalf("HEAD says %s", got.digest())
	}
	up.image(t, repo, "old", "second")
	w.want(manifestPath(old.Digest.String()), 200)
	if got := tags(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("tags are %q", got)
	}
}

// What filters made is found by its tag, too, where it was made for another one.
func TestATagNamesWhatWasMadeForAnother(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.two(t)
	var r *rules.Rule
	w := newWorld(t, up, func(c *pull.Config) {
		c.Rule = rule(t, excluding(t))
		r = c.Rule(host, repo)
	})
	w.want(manifestPath("1"), 200)
	desc, raw, err := up.Backend().Manifests.Get(t.Context(), repo, registry.Ref{Tag: "1"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := registry.ParseManifest(desc.MediaType, raw, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Backend().Manifests.Put(t.Context(), repo, m, []string{"2"}); err != nil {
		t.Fatal(err)
	}
	w.want(manifestPath("2"), 200)
	list, err := w.spaces.get("made/"+host+"/"+r.Key()).Backend().Tags.List(t.Context(), repo, "", 10)
	if err != nil || !slices.Equal(list, []string{"1", "2"}) {
		t.Errorf("tags are %q, %v", list, err)
	}
}

// An upstream that does not let the proxy in is told: nobody else sees that its login has ended.
func TestAnUpstreamThatDeniesIsTold(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.image(t, repo, "1", "content")
	up.fail(status(http.StatusForbidden))
	var mu sync.Mutex
	var told []string
	w := newWorld(t, up, func(c *pull.Config) {
		c.Watch.Warn = func(_, message string, _ error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, message)
		}
	})
	w.want(manifestPath("1"), 403)
	w.want(manifestPath("1"), 403)
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 1 || !strings.Contains(told[0], "does its login still hold") {
		t.Errorf("it is told %q", told)
	}
}
