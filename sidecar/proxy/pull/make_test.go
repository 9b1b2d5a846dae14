package pull_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// excluding is a rule that removes files called secret.
func excluding(t testing.TB) rules.Spec {
	t.Helper()
	return rules.Spec{Filters: []string{"exclude:pattern=secret"}}
}

// denying is one that refuses images with such a file.
func denying() rules.Spec { return rules.Spec{Filters: []string{"deny:pattern=secret"}} }

// two puts an index of two images under the tag 1: one has a file called secret, and the other not.
func (f *far) two(t testing.TB) (index, bad, good ocispec.Descriptor) {
	t.Helper()
	s := pipelinetest.NewStore()
	image := func(arch string, files ...pipelinetest.File) ocispec.Descriptor {
		p := ocispec.Platform{OS: "linux", Architecture: arch}
		d := s.Image(t, pipelinetest.Image{Platform: "linux/" + arch, Layers: [][]byte{pipelinetest.Tar(t, files...)}})
		d.Platform = &p
		return d
	}
	bad = image("amd64", pipelinetest.File{Name: "file", Body: "content"}, pipelinetest.File{Name: "secret", Body: "hush"})
	good = image("arm64", pipelinetest.File{Name: "file", Body: "content of another"})
	return f.push(t, repo, "1", s.Source(s.Index(t, bad, good))), bad, good
}

// children are the manifests of an index that the proxy answers with.
func children(t testing.TB, a answer) []ocispec.Descriptor {
	t.Helper()
	m, err := registry.ParseManifest(a.header.Get("Content-Type"), []byte(a.body), digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return m.Entries
}

// pullAll gets all that a manifest reaches and complains about what is not there.
func (w *world) pullAll(t testing.TB, a answer) {
	t.Helper()
	if got := digest.FromString(a.body); got != a.digest() {
		t.Errorf("manifest %s is %s", a.digest(), got)
	}
	m, err := registry.ParseManifest(a.header.Get("Content-Type"), []byte(a.body), digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range m.Entries {
		w.pullAll(t, w.want(manifestPath(e.Digest.String()), 200))
	}
	for _, b := range m.Blobs {
		if got := w.want(blobPath(b.Digest), 200); digest.FromString(got.body) != b.Digest {
			t.Errorf("blob %s has other bytes", b.Digest)
		}
	}
}

func TestTagIsWhatFiltersMakeOfIt(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	index, bad, good := up.two(t)
	w := newWorld(t, up, func(c *pull.Config) { c.Rule = rule(t, excluding(t)) })
	got := w.want(manifestPath("1"), 200)
	if got.digest() == index.Digest {
		t.Fatal("nothing was filtered")
	}
	entries := children(t, got)
	if len(entries) != 2 || entries[0].Digest == bad.Digest || entries[1].Digest != good.Digest {
		t.Errorf("entries: %v", entries)
	}
	w.pullAll(t, got)
	up.requests("")
	if again := w.want(manifestPath("1"), 200); again.digest() != got.digest() {
		t.Errorf("%s, then %s", got.digest(), again.digest())
	}
	if head := w.head(manifestPath("1")); head.digest() != got.digest() {
		t.Errorf("HEAD says %s", head.digest())
	}
	w.want(manifestPath(got.digest().String()), 200)
	same(t, up.requests(""))
	// The digests of upstream are their exact bytes.
	if exact := w.want(manifestPath(bad.Digest.String()), 200); digest.FromString(exact.body) != bad.Digest {
		t.Errorf("%s", exact.digest())
	}
}

func TestFiltersRunOnceForManyClients(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.two(t)
	var mu sync.Mutex
	made := 0
	w := newWorld(t, up, func(c *pull.Config) {
		c.Rule = rule(t, excluding(t))
		c.Watch.Pulled = func(pull.Image) {
			mu.Lock()
			defer mu.Unlock()
			made++
		}
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if i%2 == 0 {
				w.want(manifestPath("1"), 200)
			} else if got := w.head(manifestPath("1")); got.status != 200 {
				t.Errorf("HEAD: status %d", got.status)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("they ran %d times", made)
	}
	if got := up.requests("/blobs/"); len(got) != len(unique(got)) {
		t.Errorf("requests: %q", got)
	}
}

func unique(list []string) map[string]bool {
	m := map[string]bool{}
	for _, s := range list {
		m[s] = true
	}
	return m
}

func TestMovedTagIsMadeAnew(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.two(t)
	w := newWorld(t, up, func(c *pull.Config) {
		c.Rule = rule(t, excluding(t))
		c.Upstreams[0].Times = pull.Times{StaleWhile: -1}
	})
	old := w.want(manifestPath("1"), 200)
	m, _ := up.image(t, repo, "1", "another")
	w.clock.add(pull.DefaultTTL)
	if got := w.want(manifestPath("1"), 200); got.digest() != m.Digest { // nothing in it to exclude
		t.Errorf("%s, want %s", got.digest(), m.Digest)
	}
	w.want(manifestPath(old.digest().String()), 200)
}

func TestAnotherRuleServesNothingOld(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	index, _, _ := up.two(t)
	in := &spaces{dir: t.TempDir(), m: map[string]*space{}}
	one := newWorldIn(t, up, in, func(c *pull.Config) { c.Rule = rule(t, excluding(t)) })
	made := one.want(manifestPath("1"), 200)
	two := newWorldIn(t, up, in, func(c *pull.Config) { c.Rule = rule(t, rules.Spec{Filters: []string{"exclude:pattern=file"}}) })
	if got := two.want(manifestPath("1"), 200); got.digest() == made.digest() || got.digest() == index.Digest {
		t.Errorf("%s", got.digest())
	}
	two.want(manifestPath(made.digest().String()), 404) // upstream has no such digest
	none := newWorldIn(t, up, in, nil)
	if got := none.want(manifestPath("1"), 200); got.digest() != index.Digest {
		t.Errorf("without a rule: %s", got.digest())
	}
}

func TestDenyRefusesTagAndDigest(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	index, bad, good := up.two(t)
	w := newWorld(t, up, func(c *pull.Config) { c.Rule = rule(t, denying()) })
	denied := func(path string) {
		t.Helper()
		if got := w.want(path, 403); !strings.Contains(got.body, `"DENIED"`) || !strings.Contains(got.body, "deny refuses") || !strings.Contains(got.body, "secret") {
			t.Errorf("%s: %s", path, got.body)
		}
		if got := w.head(path); got.status != 403 {
			t.Errorf("HEAD %s: status %d", path, got.status)
		}
	}
	denied(manifestPath("1"))
	denied(manifestPath(bad.Digest.String()))
	up.requests("")
	denied(manifestPath("1")) // the verdict is kept
	denied(manifestPath(bad.Digest.String()))
	same(t, up.requests(""))
	w.pullAll(t, w.want(manifestPath(good.Digest.String()), 200))
	if got := w.want(manifestPath(index.Digest.String()), 200); digest.FromString(got.body) != index.Digest { // a list has no files
		t.Error("other bytes")
	}
	up.requests("")
	w.want(manifestPath(good.Digest.String()), 200)
	same(t, up.requests(""))
	// A rule without the filter lets it pass: verdicts are those of their rule.
	other := newWorldIn(t, up, w.spaces, func(c *pull.Config) { c.Rule = rule(t, excluding(t)) })
	other.want(manifestPath(bad.Digest.String()), 200)
}

// A tar is judged whatever its type says, in an artifact as in an image: Docker unpacks
// layers of types that nobody knows.
func TestDenyRefusesATarOfAnotherType(t *testing.T) {
	t.Parallel()
	up, s := newFar(t), pipelinetest.NewStore()
	tar := pipelinetest.Tar(t, pipelinetest.File{Name: "secret", Body: "s"})
	bad := s.Put("application/vnd.example", pipelinetest.Compress(t, pipeline.Gzip, tar))
	good := s.Put("application/vnd.example", []byte("no tar"))
	config := s.Put(ocispec.MediaTypeImageConfig, fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, digest.FromBytes(tar)))
	artifact := s.Put("application/vnd.example.config", []byte("{}"))
	manifest := func(config ocispec.Descriptor, layers ...ocispec.Descriptor) ocispec.Descriptor {
		return s.PutJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{Versioned: versioned, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: layers})
	}
	image := manifest(config, bad)
	w := newWorld(t, up, func(c *pull.Config) { c.Rule = rule(t, denying()) })
	for tag, root := range map[string]ocispec.Descriptor{"image": image, "artifact": manifest(artifact, good, bad), "index": s.Index(t, manifest(artifact, good), image)} {
		m := up.push(t, repo, tag, s.Source(root))
		paths := []string{tag}
		if tag != "index" { // which is a list
			paths = append(paths, m.Digest.String())
		}
		for _, path := range paths {
			if got := w.want(manifestPath(path), 403); !strings.Contains(got.body, "secret") {
				t.Errorf("%s: %s", path, got.body)
			}
		}
	}
	m := up.push(t, repo, "good", s.Source(manifest(artifact, good)))
	w.pullAll(t, w.want(manifestPath("good"), 200))
	w.want(manifestPath(m.Digest.String()), 200)
}

func TestVerdictOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	_, bad, _ := up.two(t)
	in := &spaces{dir: t.TempDir(), m: map[string]*space{}}
	deny := func(c *pull.Config) { c.Rule = rule(t, denying()) }
	newWorldIn(t, up, in, deny).want(manifestPath(bad.Digest.String()), 403)
	up.requests("")
	newWorldIn(t, up, in, deny).want(manifestPath(bad.Digest.String()), 403)
	same(t, up.requests(""))
}

func TestDigestIsRefusedWhereFiltersWouldChangeIt(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	index, bad, good := up.two(t)
	spec := excluding(t)
	spec.Digest = string(rules.DigestRefuse)
	w := newWorld(t, up, func(c *pull.Config) { c.Rule = rule(t, spec) })
	made := w.want(manifestPath("1"), 200)
	for _, d := range []digest.Digest{bad.Digest, index.Digest} {
		got := w.want(manifestPath(d.String()), 403)
		if !strings.Contains(got.body, `"DENIED"`) || !strings.Contains(got.body, "pull it by its tag") {
			t.Errorf("%s", got.body)
		}
	}
	w.want(manifestPath(good.Digest.String()), 200) // they would not
	w.pullAll(t, w.want(manifestPath(made.digest().String()), 200))
}

func TestFailureOfARunIsNoVerdict(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.two(t)
	w := newWorld(t, up, func(c *pull.Config) { c.Rule = rule(t, denying()) })
	up.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	if got := w.want(manifestPath("1"), 502); !strings.Contains(got.body, host) {
		t.Errorf("%s", got.body)
	}
	up.fail(nil)
	w.clock.add(pullAgain)
	w.want(manifestPath("1"), 403)
}

func TestRunGoesOnWithoutItsFirstClient(t *testing.T) {
	t.Parallel()
	up := newFar(t)
	up.two(t)
	w := newWorld(t, up, func(c *pull.Config) { c.Rule = rule(t, excluding(t)) })
	asked, hold := make(chan struct{}, 100), make(chan struct{})
	up.fail(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			asked <- struct{}{}
			<-hold
		}
		return false
	})
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _, _ = w.pull.Backend(host).Manifests.Get(ctx, repo, registry.Ref{Tag: "1"})
	}()
	<-asked
	leave()
	<-gone
	close(hold)
	w.pullAll(t, w.want(manifestPath("1"), 200))
	if got := up.requests("/blobs/"); len(got) != len(unique(got)) {
		t.Errorf("requests: %q", got)
	}
}
