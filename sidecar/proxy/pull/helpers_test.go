package pull_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
	"github.com/occystrap/occystrap/sidecar/proxy/pull"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	host = "registry.example"
	repo = "team/app"
	// longest is how long a test waits for what must come.
	longest = 3 * time.Minute
)

// A far is a registry in another place: it counts what it is asked, and can fail.
type far struct {
	*pipelinetest.Registry
	srv *httptest.Server

	mu    sync.Mutex
	asked []string
	// fault may answer in place of the registry.
	fault func(w http.ResponseWriter, r *http.Request) (answered bool)
}

func newFar(t testing.TB) *far {
	t.Helper()
	f := &far{Registry: pipelinetest.NewRegistry()}
	h := registry.New(f.Backend(), registry.Options{})
	f.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked = append(f.asked, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v2/"))
		fault := f.fault
		f.mu.Unlock()
		if fault == nil || !fault(w, r) {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.srv.Close)
	return f
}

func (f *far) addr() string { return f.srv.Listener.Addr().String() }

// fail sets what answers in place of the registry; nil ends it.
func (f *far) fail(fault func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// status answers everything with a status.
func status(code int, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		return true
	}
}

// requests are those since the last call, of whose text part is a part.
func (f *far) requests(part string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, r := range f.asked {
		if strings.Contains(r, part) {
			out = append(out, r)
		}
	}
	f.asked = nil
	return out
}

// push puts what a source has into a repository.
func (f *far) push(t testing.TB, repository, tag string, src pipeline.Source) ocispec.Descriptor {
	t.Helper()
	opts := pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}}}
	report, err := pipeline.Run(t.Context(), src, nil, registry.NewSink(f.Backend(), repository, []string{tag}), opts)
	if err != nil {
		t.Fatal(err)
	}
	return report.Roots[0].Manifest
}

// image puts an image of one layer, with a file whose content is given.
func (f *far) image(t testing.TB, repository, tag, content string) (manifest ocispec.Descriptor, layer digest.Digest) {
	t.Helper()
	s := pipelinetest.NewStore()
	desc := s.Image(t, pipelinetest.Image{Layers: [][]byte{pipelinetest.Tar(t, pipelinetest.File{Name: "file", Body: content})}})
	got := f.push(t, repository, tag, s.Source(desc))
	return got, f.blobs(t, repository, got.Digest)[1]
}

// blobs are those of an image, the config first.
func (f *far) blobs(t testing.TB, repository string, d digest.Digest) (out []digest.Digest) {
	t.Helper()
	desc, raw, err := f.Backend().Manifests.Get(t.Context(), repository, registry.Ref{Digest: d})
	if err != nil {
		t.Fatal(err)
	}
	m, err := registry.ParseManifest(desc.MediaType, raw, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range m.Blobs {
		out = append(out, b.Digest)
	}
	return out
}

// A clock is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// A space keeps manifests in memory and uploads in files that can be read while they grow.
type space struct {
	*pipelinetest.Registry
	dir string

	mu    sync.Mutex
	facts map[string][]byte
}

func (s *space) Backend() registry.Backend {
	b := s.Registry.Backend()
	b.Uploads = growing{b.Uploads, s.dir}
	b.Sparse = true
	return b
}

func (s *space) Fact(_ context.Context, repository, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.facts[repository+" "+key]; ok {
		return v, nil
	}
	return nil, fmt.Errorf("fact %s: %w", key, pipeline.ErrNotFound)
}

func (s *space) SetFact(_ context.Context, repository, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.facts[repository+" "+key] = value; value == nil {
		delete(s.facts, repository+" "+key)
	}
	return nil
}

// growing are uploads with a file beside.
type growing struct {
	registry.Uploads
	dir string
}

func (g growing) Begin(ctx context.Context, repository, id string) (registry.Upload, error) {
	up, err := g.Uploads.Begin(ctx, repository, id)
	if err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(g.dir, id))
	return growingUpload{up, f}, err
}

type growingUpload struct {
	registry.Upload
	f *os.File
}

func (g growingUpload) Write(p []byte) (int, error) {
	if n, err := g.f.Write(p); err != nil {
		return n, err
	}
	return g.Upload.Write(p)
}

func (g growingUpload) Open(context.Context) (io.ReadCloser, error) { return os.Open(g.f.Name()) }

func (g growingUpload) Close() error { return errors.Join(g.Upload.Close(), g.f.Close()) }

// A world is a proxy with one upstream.
type world struct {
	t      testing.TB
	up     *far
	clock  *clock
	pull   *pull.Pull
	srv    *httptest.Server
	spaces *spaces

	mu       sync.Mutex
	warnings []string
	hits     map[string]int // "blob hit", "manifest miss", and bytes by side
}

type spaces struct {
	mu  sync.Mutex
	dir string
	m   map[string]*space
}

func (s *spaces) get(name string) pull.Space {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[name] == nil {
		s.m[name] = &space{Registry: pipelinetest.NewRegistry(), dir: s.dir, facts: map[string][]byte{}}
	}
	return s.m[name]
}

// newWorld makes a proxy over an upstream, which change may configure otherwise.
func newWorld(t testing.TB, up *far, change func(c *pull.Config)) *world {
	t.Helper()
	return newWorldIn(t, up, &spaces{dir: t.TempDir(), m: map[string]*space{}}, change)
}

func newWorldIn(t testing.TB, up *far, in *spaces, change func(c *pull.Config)) *world {
	t.Helper()
	w := &world{t: t, up: up, clock: &clock{at: time.Now()}, spaces: in, hits: map[string]int{}}
	c := pull.Config{
		Upstreams: []pull.Upstream{{Host: host, Address: up.addr(), Client: client(t)}},
		Space:     in.get, Now: w.clock.now,
		Watch: pull.Watch{
			Looked:   func(_, kind string, hit bool, _ int64) { w.count(fmt.Sprintf("%s %t", kind, hit), 1) },
			Received: func(_, side string, n int64) { w.count(side, int(n)) },
			Failed:   func(_, side string, _ error) { w.count("failed "+side, 1) },
			Warn:     func(_, message string, err error) { w.warn(fmt.Sprintf("%s: %v", message, err)) },
		},
	}
	if change != nil {
		change(&c)
	}
	var err error
	if w.pull, err = pull.New(c); err != nil {
		t.Fatal(err)
	}
	w.srv = httptest.NewServer(registry.New(w.pull.Backend(host), registry.Options{Failed: func(r *http.Request, err error) {
		w.warn(r.Method + " " + r.URL.Path + ": " + err.Error())
	}}))
	t.Cleanup(func() {
		w.srv.Close()
		if err := w.pull.Close(); err != nil {
			t.Error(err)
		}
		if w.mu.Lock(); t.Failed() {
			for _, s := range w.warnings {
				t.Log(s)
			}
		}
		w.mu.Unlock()
	})
	return w
}

func client(t testing.TB) *remote.Client {
	t.Helper()
	c, err := remote.NewClient(remote.Config{Insecure: true, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *world) warn(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warnings = append(w.warnings, s)
}

func (w *world) warned() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.warnings)
}

func (w *world) count(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hits[what] += n
}

func (w *world) counted(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hits[what]
}

// An answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// ask makes a request of the proxy. The path is below /v2/.
func (w *world) ask(method, path string, header ...string) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.srv.URL+"/v2/"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := w.srv.Client().Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(raw), err}
}

func (w *world) get(path string, header ...string) answer {
	w.t.Helper()
	return w.ask(http.MethodGet, path, header...)
}

func (w *world) head(path string) answer { w.t.Helper(); return w.ask(http.MethodHead, path) }

// want gets a path, whose answer must be a status.
func (w *world) want(path string, code int) answer {
	w.t.Helper()
	a := w.get(path)
	if a.status != code || a.err != nil {
		w.t.Fatalf("GET %s: status %d, %s, %v; want %d", path, a.status, a.body, a.err, code)
	}
	return a
}

// digest is what an answer's manifest is called.
func (a answer) digest() digest.Digest { return digest.Digest(a.header.Get("Docker-Content-Digest")) }

func manifestPath(ref string) string { return repo + "/manifests/" + ref }

func blobPath(d digest.Digest) string { return repo + "/blobs/" + d.String() }

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(longest); !so(); {
		if time.Now().After(end) {
			t.Fatalf("it never came about that %s", what)
		}
		<-time.After(time.Millisecond) // between two looks
	}
}

// same complains about other requests than those.
func same(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("requests upstream: %q, want %q", got, want)
	}
}

// rule makes the rule of all repositories.
func rule(t testing.TB, s rules.Spec) func(_, _ string) *rules.Rule {
	t.Helper()
	r, err := rules.New(s, nil, filter.Kinds(filter.Defaults{}))
	if err != nil {
		t.Fatal(err)
	}
	return func(_, repository string) *rules.Rule { return r.For(repository) }
}

// pullAgain is after all that is remembered of failures.
const pullAgain = time.Minute

var versioned = specs.Versioned{SchemaVersion: 2}
