package push_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/filter"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/push"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A keeper keeps images in a registry in memory. Hooks, where they are set, come before.
type keeper struct {
	reg    *pipelinetest.Registry
	mu     sync.Mutex
	asked  []string // what Sinks were asked for: "layer", "commit MEDIATYPE", "publish"
	layer  func(ctx context.Context) error
	commit func(ctx context.Context) error
}

func newKeeper() *keeper { return &keeper{reg: pipelinetest.NewRegistry()} }

func (k *keeper) Backend() registry.Backend {
	b := k.reg.Backend()
	b.Place = "kept"
	return b
}

func (k *keeper) Sink(_ context.Context, repository string, tags []string) (pipeline.Sink, error) {
	return keptSink{registry.NewSink(k.Backend(), repository, tags), k}, nil
}

func (k *keeper) note(what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, what)
}

// count is how often it was asked for something that begins so.
func (k *keeper) count(prefix string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.asked {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

type keptSink struct {
	*registry.Sink
	k *keeper
}

func (s keptSink) Layer(ctx context.Context, seq int, l pipeline.Layer) (pipeline.LayerWriter, error) {
	s.k.note("layer")
	if s.k.layer != nil {
		if err := s.k.layer(ctx); err != nil {
			return nil, err
		}
	}
	return s.Sink.Layer(ctx, seq, l)
}

func (s keptSink) Commit(ctx context.Context, m pipeline.Manifest) error {
	s.k.note("commit " + m.Desc.MediaType)
	if s.k.commit != nil {
		if err := s.k.commit(ctx); err != nil {
			return err
		}
	}
	return s.Sink.Commit(ctx, m)
}

// A world is a Push behind a server, with what it told.
type world struct {
	t       *testing.T
	cfg     push.Config
	staging *pipelinetest.Registry
	keeper  *keeper
	push    *push.Push
	url     string
	client  *http.Client

	mu     sync.Mutex
	images []push.Image
	failed []error
}

// start makes a world; change may change its configuration.
func start(t *testing.T, filters []string, change func(w *world)) *world {
	t.Helper()
	w := &world{t: t, staging: pipelinetest.NewRegistry(), keeper: newKeeper()}
	w.cfg = push.Config{Staging: w.staging.Backend(), Keeper: w.keeper, Rules: newRules(t, rules.Spec{Filters: filters}), TempDir: t.TempDir(), Done: w.done}
	if change != nil {
		change(w)
	}
	w.serve()
	return w
}

// serve starts a Push over what is there, as a process that was started anew.
func (w *world) serve() {
	p := push.New(w.cfg)
	h := registry.New(p.Backend(), registry.Options{Failed: func(_ *http.Request, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.failed = append(w.failed, err)
	}})
	srv := httptest.NewServer(h)
	w.push, w.url, w.client = p, srv.URL, srv.Client()
	w.t.Cleanup(func() {
		srv.Close()
		if err := p.Drain(context.WithoutCancel(w.t.Context())); err != nil {
			w.t.Error(err)
		}
	})
}

// A cache outlives a Push.
type cache struct {
	mu    sync.Mutex
	known map[pipeline.CacheKey]pipeline.CachedLayer
}

func newCache() *cache { return &cache{known: map[pipeline.CacheKey]pipeline.CachedLayer{}} }

func (c *cache) Lookup(k pipeline.CacheKey) (pipeline.CachedLayer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.known[pipeline.CacheKey{Layer: k.Layer, Recipe: k.Recipe}]
	return l, ok
}

func (c *cache) Record(k pipeline.CacheKey, l pipeline.CachedLayer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[pipeline.CacheKey{Layer: k.Layer, Recipe: k.Recipe}] = l
}

// later is the world an hour later, in a new process: staging is empty, and so is the
// record of what the keeper was asked.
func (w *world) later() {
	w.staging = pipelinetest.NewRegistry()
	w.cfg.Staging = w.staging.Backend()
	w.keeper.mu.Lock()
	w.keeper.asked = nil
	w.keeper.mu.Unlock()
	w.serve()
}

func (w *world) done(i push.Image) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.images = append(w.images, i)
}

// told are the images that were told of so far.
func (w *world) told() []push.Image {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]push.Image(nil), w.images...)
}

func newRules(t *testing.T, all rules.Spec, specs ...rules.Spec) *rules.Rules {
	t.Helper()
	r, err := rules.New(all, specs, filter.Kinds(filter.Defaults{}))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// An answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// code is that of an error.
func (a answer) code() (code registry.Code, message string) {
	var doc struct {
		Errors []struct {
			Code    registry.Code
			Message string
		}
	}
	if json.Unmarshal([]byte(a.body), &doc) != nil || len(doc.Errors) != 1 {
		return "", a.body
	}
	return doc.Errors[0].Code, doc.Errors[0].Message
}

// ask makes a request; header is a list of names and values.
func (w *world) ask(method, path string, body io.Reader, header ...string) answer {
	a, err := w.try(w.t.Context(), method, path, body, header...)
	if err != nil {
		w.t.Error(err)
	}
	return a
}

func (w *world) try(ctx context.Context, method, path string, body io.Reader, header ...string) (a answer, err error) {
	if !strings.HasPrefix(path, "http") {
		path = w.url + path
	}
	r, err := http.NewRequestWithContext(ctx, method, path, body)
	if err != nil {
		return a, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(raw)}, err
}

// begin opens an upload and returns its address.
func (w *world) begin(repository string) string {
	w.t.Helper()
	a := w.ask("POST", "/v2/"+repository+"/blobs/uploads/", nil)
	if a.status != http.StatusAccepted {
		w.t.Fatalf("begin: %d %s", a.status, a.body)
	}
	return w.url + a.header.Get("Location")
}

// blob sends a blob in two chunks unless it is there, as docker does, and says whether
// it was sent.
func (w *world) blob(repository string, raw []byte) bool {
	w.t.Helper()
	d := digest.FromBytes(raw)
	if w.ask("HEAD", "/v2/"+repository+"/blobs/"+d.String(), nil).status == http.StatusOK {
		return false
	}
	at := w.begin(repository)
	for _, part := range [][]byte{raw[:len(raw)/2], raw[len(raw)/2:]} {
		if a := w.ask("PATCH", at, bytes.NewReader(part)); a.status != http.StatusAccepted {
			w.t.Fatalf("PATCH: %d %s", a.status, a.body)
		}
	}
	if a := w.ask("PUT", at+"?digest="+d.String(), nil); a.status != http.StatusCreated {
		w.t.Fatalf("PUT: %d %s", a.status, a.body)
	}
	return true
}

// blobs sends all that a manifest names, and says how many blobs were not there.
func (w *world) blobs(repository string, s *pipelinetest.Store, m ocispec.Manifest) (sent int) {
	w.t.Helper()
	for _, d := range append(m.Layers, m.Config) {
		if w.blob(repository, s.Bytes(d.Digest)) {
			sent++
		}
	}
	return sent
}

func (w *world) manifest(repository, ref string, s *pipelinetest.Store, desc ocispec.Descriptor) answer {
	w.t.Helper()
	return w.ask("PUT", "/v2/"+repository+"/manifests/"+ref, bytes.NewReader(s.Bytes(desc.Digest)), "Content-Type", desc.MediaType)
}

// pushImage pushes an image or index as docker and BuildKit do: children by their
// digest first. It says how many blobs had to be sent.
func (w *world) pushImage(repository, ref string, s *pipelinetest.Store, desc ocispec.Descriptor) (a answer, sent int) {
	w.t.Helper()
	if pipeline.IsIndex(desc.MediaType) {
		for _, child := range read[ocispec.Index](w.t, s.Bytes(desc.Digest)).Manifests {
			a, n := w.pushImage(repository, child.Digest.String(), s, child)
			if sent += n; a.status != http.StatusCreated {
				return a, sent
			}
		}
	} else {
		sent = w.blobs(repository, s, read[ocispec.Manifest](w.t, s.Bytes(desc.Digest)))
	}
	return w.manifest(repository, ref, s, desc), sent
}

// must checks that a manifest was taken, and returns the digest that it is kept under.
func (w *world) must(a answer, received digest.Digest) digest.Digest {
	w.t.Helper()
	if a.status != http.StatusCreated {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.t.Fatalf("PUT manifest: %d %s; %v", a.status, a.body, w.failed)
	}
	if got := a.header.Get("Docker-Content-Digest"); got != received.String() {
		w.t.Fatalf("Docker-Content-Digest is %s, want %s", got, received)
	}
	return digest.Digest(a.header.Get(push.DigestHeader))
}

func read[T any](t testing.TB, raw []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// kept reads a manifest that is kept, and all that it names.
func (w *world) kept(repository, tag string) (desc ocispec.Descriptor, m ocispec.Manifest) {
	w.t.Helper()
	b := w.keeper.Backend()
	desc, raw, err := b.Manifests.Get(w.t.Context(), repository, registry.Ref{Tag: tag})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := pipeline.Verify(w.t.Context(), registry.NewSource(b, repository, registry.Ref{Digest: desc.Digest}, nil), pipeline.Report{}, pipeline.Options{Query: pipeline.Query{Platforms: pipeline.Platforms{All: true}, Missing: pipeline.MissingFail}}); err != nil {
		w.t.Error(err)
	}
	return desc, read[ocispec.Manifest](w.t, raw)
}

// layer is a gzip layer with one file of some size.
func plainLayer(t testing.TB, name string, size int) []byte {
	t.Helper()
	return pipelinetest.Tar(t, pipelinetest.File{Name: name, Body: noise(name, size)})
}

// noise does not compress, and is the same for one name.
func noise(name string, size int) string {
	raw := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(raw)
	return string(raw)
}

// image stores an image with a small and a large layer.
func image(t testing.TB, s *pipelinetest.Store, name string) ocispec.Descriptor {
	t.Helper()
	return s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{plainLayer(t, name+"/small", 500), plainLayer(t, name+"/large", 2<<20)}})
}

// notes outlive a Push.
type notes struct {
	mu    sync.Mutex
	known map[string][]byte
}

func (n *notes) Fact(_ context.Context, repository, key string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if v, ok := n.known[repository+" "+key]; ok {
		return v, nil
	}
	return nil, pipeline.ErrNotFound
}

func (n *notes) SetFact(_ context.Context, repository, key string, value []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[repository+" "+key] = value
	return nil
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func gunzip(t testing.TB, r io.Reader) []byte {
	t.Helper()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
