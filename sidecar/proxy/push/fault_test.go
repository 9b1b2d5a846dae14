package push_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
	"github.com/occystrap/occystrap/sidecar/proxy/push"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// A downstream is a registry over HTTP, which may refuse.
type downstream struct {
	*httptest.Server
	reg *pipelinetest.Registry

	mu     sync.Mutex
	refuse func(w http.ResponseWriter, r *http.Request) bool
}

func newDownstream(t *testing.T) *downstream {
	t.Helper()
	d := &downstream{reg: pipelinetest.NewRegistry()}
	h := registry.New(d.reg.Backend(), registry.Options{})
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		refuse := d.refuse
		d.mu.Unlock()
		if refuse == nil || !refuse(w, r) {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(d.Close)
	return d
}

// refusing answers all pushes so; bodies are read, so that nobody sees a reset.
func (d *downstream) refusing(status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(w, `{"errors":[{"code":"DENIED","message":"not for you"}]}`, status)
		return true
	}
}

func (d *downstream) willing() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = nil
}

// A far keeper keeps images there, below a prefix.
type far struct {
	client *remote.Client
	host   string
}

func (f far) Sink(_ context.Context, repository string, tags []string) (pipeline.Sink, error) {
	return f.client.Repository(f.host, "org/"+repository).Sink(tags), nil
}

func (f far) Backend() registry.Backend { return f.client.Backend(f.host, "org") }

// startFar makes a world whose keeper is a registry.
func startFar(t *testing.T, filters ...string) (*world, *downstream) {
	t.Helper()
	d := newDownstream(t)
	client, err := remote.NewClient(remote.Config{Insecure: true, Backoff: time.Millisecond, Stall: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w := start(t, filters, func(w *world) {
		w.cfg.Keeper = far{client, strings.TrimPrefix(d.URL, "http://")}
		w.cfg.Cache = newCache()
	})
	return w, d
}

func TestPushToARegistry(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{"as it is": nil, "changed": {normalize}, "judged": {"deny:secrets=true"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, d := startFar(t, filters...)
			s := pipelinetest.NewStore()
			index, _ := built(t, s)
			a, _ := w.pushImage("team/app", "1", s, index)
			stored := w.must(a, index.Digest)
			desc, _, err := d.reg.Backend().Manifests.Get(t.Context(), "org/team/app", registry.Ref{Tag: "1"})
			if err != nil || desc.Digest != stored {
				t.Errorf("downstream is %s, %v; want %s", desc.Digest, err, stored)
			}
			if n := d.reg.Uploading(); n > 0 {
				t.Errorf("%d uploads are left", n)
			}
			a, sent := w.pushImage("team/app", "2", s, index)
			if w.must(a, index.Digest); sent > 0 {
				t.Errorf("%d blobs had to be sent again", sent)
			}
		})
	}
}

// Y09: what the downstream answers is told in the specification's words, and a push
// that comes again succeeds.
func TestDownstreamThatRefuses(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct {
		status int
		code   registry.Code
	}{
		401: {403, registry.Denied},
		403: {403, registry.Denied},
		404: {500, "UNKNOWN"},
		429: {429, registry.TooManyRequests},
		500: {500, "UNKNOWN"},
		507: {500, "UNKNOWN"},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w, d := startFar(t, normalize)
			d.refusing(status)
			s := pipelinetest.NewStore()
			img := image(t, s, "a")
			a, _ := w.pushImage("team/app", "1", s, img)
			code, message := a.code()
			if a.status != want.status || code != want.code || message == "" || strings.ContainsAny(message, "\r\n") {
				t.Errorf("%d %s", a.status, a.body)
			}
			d.willing()
			if status != 429 { // that one is believed for a while
				a, _ = w.pushImage("team/app", "1", s, img)
				w.must(a, img.Digest)
			}
		})
	}
}

func TestDownstreamThatIsNotThere(t *testing.T) {
	t.Parallel()
	w, d := startFar(t)
	d.Close()
	a := w.ask("HEAD", "/v2/team/app/blobs/"+digest.FromString("x").String(), nil)
	if a.status != http.StatusInternalServerError {
		t.Errorf("HEAD: %d", a.status)
	}
	a = w.ask("GET", "/v2/team/app/manifests/1", nil)
	if code, message := a.code(); a.status != 500 || code != "UNKNOWN" || !strings.Contains(message, "cannot be reached") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A layer that goes early and is cut off downstream goes again with its manifest.
func TestDownstreamThatCutsEarlyLayers(t *testing.T) {
	t.Parallel()
	w, d := startFar(t)
	cut := make(chan struct{})
	var once sync.Once
	d.mu.Lock()
	d.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
		bad := false
		if r.Method == http.MethodPatch {
			once.Do(func() { bad = true })
		}
		if bad {
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
			close(cut)
			panic(http.ErrAbortHandler)
		}
		return false
	}
	d.mu.Unlock()
	s := pipelinetest.NewStore()
	img := image(t, s, "a")
	a, _ := w.pushImage("team/app", "1", s, img)
	w.must(a, img.Digest)
	select {
	case <-cut:
	default:
		t.Error("nothing was cut")
	}
}

// A client that leaves in the middle leaves nothing behind downstream; one that comes
// again with the rest of an upload goes on, in a new process too.
func TestClientThatLeaves(t *testing.T) {
	t.Parallel()
	for name, filters := range map[string][]string{"as it is": nil, "changed": {normalize}} {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, new process %t", name, later), func(t *testing.T) {
				t.Parallel()
				w := start(t, filters, nil)
				s := pipelinetest.NewStore()
				img := s.Image(t, pipelinetest.Image{Compression: pipeline.Gzip, Layers: [][]byte{plainLayer(t, "x", 2<<20)}})
				layer := read[ocispec.Manifest](t, s.Bytes(img.Digest)).Layers[0]
				raw := s.Bytes(layer.Digest)
				at := strings.TrimPrefix(w.begin("team/app"), w.url)
				ctx, leave := context.WithCancel(t.Context())
				body, feed := io.Pipe()
				gone := make(chan error)
				go func() {
					_, err := w.try(ctx, "PATCH", at, body)
					gone <- err
				}()
				_, _ = feed.Write(raw[:1<<20])
				for w.ask("GET", at, nil).header.Get("Range") == "0-0" {
					continue // until some of it has come
				}
				leave()
				_ = feed.CloseWithError(io.ErrClosedPipe) // the client may wait for it
				if err := <-gone; err == nil {
					t.Error("the client did not leave")
				}
				size := w.rest(at)
				if later {
					w.serve() // over the same staging
				}
				if a := w.ask("PATCH", at, bytes.NewReader(raw[size:]), "Content-Range", fmt.Sprintf("%d-%d", size, len(raw)-1)); a.status != http.StatusAccepted {
					t.Fatalf("%d %s", a.status, a.body)
				}
				if a := w.ask("PUT", at+"?digest="+layer.Digest.String(), nil); a.status != http.StatusCreated {
					t.Fatalf("%d %s", a.status, a.body)
				}
				a, sent := w.pushImage("team/app", "1", s, img)
				if stored, want := w.must(a, img.Digest), alone(t, s, img, filters...); stored != want || sent != 1 {
					t.Errorf("kept as %s, want %s; %d blobs sent", stored, want, sent)
				}
			})
		}
	}
}

// rest waits until nobody writes to an upload any more, and says how much it has.
func (w *world) rest(at string) (size int) {
	w.t.Helper()
	for {
		a := w.ask("PATCH", at, nil) // of nothing: 409 while another request has it
		if a.status != http.StatusAccepted {
			continue
		}
		if _, err := fmt.Sscanf(a.header.Get("Range"), "0-%d", &size); err != nil {
			w.t.Fatal(err)
		}
		return size + 1
	}
}

// An upload that is cancelled, or never ends, holds nobody up, and sends nothing on.
func TestUploadsThatNeverEnd(t *testing.T) {
	t.Parallel()
	w := start(t, nil, func(w *world) { w.cfg.Concurrency, w.cfg.Parallel = 1, 1 })
	raw := []byte(noise("x", 1<<20))
	cancelled := w.begin("team/app")
	for _, at := range []string{cancelled, w.begin("team/app"), w.begin("team/app")} { // one has the only place
		if a := w.ask("PATCH", at, bytes.NewReader(raw)); a.status != http.StatusAccepted {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if a := w.ask("DELETE", cancelled, nil); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	s := pipelinetest.NewStore()
	img := image(t, s, "a")
	a, _ := w.pushImage("team/app", "1", s, img)
	w.must(a, img.Digest)
	if err := w.push.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if n := w.keeper.reg.Uploading(); n > 0 {
		t.Errorf("%d uploads are left", n)
	}
	if _, err := w.keeper.Backend().Blobs.Stat(t.Context(), "team/app", digest.FromBytes(raw)); err == nil {
		t.Error("an upload that did not end is kept")
	}
}

// Y28: the end waits for what was accepted, and takes nothing new.
func TestDrainWaitsForAcceptedPushes(t *testing.T) {
	t.Parallel()
	begun, hold := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w := start(t, nil, func(w *world) {
		w.keeper.commit = func(context.Context) error {
			once.Do(func() { close(begun); <-hold })
			return nil
		}
	})
	s := pipelinetest.NewStore()
	img, other := image(t, s, "a"), image(t, s, "b")
	w.blobs("team/app", s, read[ocispec.Manifest](t, s.Bytes(img.Digest)))
	w.blobs("team/app", s, read[ocispec.Manifest](t, s.Bytes(other.Digest)))
	answers := make(chan answer)
	go func() { answers <- w.manifest("team/app", "1", s, img) }()
	<-begun
	drained := make(chan error)
	go func() { drained <- w.push.Drain(t.Context()) }()
	for { // until the end has begun
		a := w.manifest("team/app", "2", s, other)
		if a.status == http.StatusServiceUnavailable {
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			break
		}
		w.must(a, other.Digest)
	}
	select {
	case err := <-drained:
		t.Fatalf("drained before the push was kept: %v", err)
	default:
	}
	close(hold)
	w.must(<-answers, img.Digest)
	if err := <-drained; err != nil {
		t.Error(err)
	}
	w.kept("team/app", "1")
}

// A Drain that takes too long gives up, and clients are told of no success.
func TestDrainGivesUp(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	w := start(t, nil, func(w *world) {
		w.keeper.commit = func(ctx context.Context) error {
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		}
	})
	s := pipelinetest.NewStore()
	img := image(t, s, "a")
	w.blobs("team/app", s, read[ocispec.Manifest](t, s.Bytes(img.Digest)))
	answers := make(chan answer)
	go func() { answers <- w.manifest("team/app", "1", s, img) }()
	<-begun
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(late)
	if err := w.push.Drain(ctx); !errors.Is(err, late) {
		t.Errorf("%v", err)
	}
	if a := <-answers; a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A blob that is deleted while it goes on does not come back.
func TestDeleteWaitsForWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	begun, hold := make(chan struct{}), make(chan struct{})
	w := start(t, nil, func(w *world) {
		w.keeper.layer = func(context.Context) error { close(begun); <-hold; return nil }
	})
	raw := []byte(noise("x", 100_000))
	address := "/v2/team/app/blobs/" + digest.FromBytes(raw).String()
	w.blob("team/app", raw)
	<-begun
	answers := make(chan answer)
	go func() { answers <- w.ask("DELETE", address, nil) }()
	select {
	case a := <-answers:
		t.Errorf("answered with %d while the blob is on its way", a.status)
	case hold <- struct{}{}:
	}
	if a := <-answers; a.status != http.StatusAccepted {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.ask("HEAD", address, nil); a.status != http.StatusNotFound {
		t.Errorf("it is back: %d", a.status)
	}
}

// A config that lies about its layers is the client's fault, and told as such.
func TestLyingConfig(t *testing.T) {
	t.Parallel()
	w, s := start(t, []string{normalize}, nil), pipelinetest.NewStore()
	img := s.LyingImage(t, plainLayer(t, "a", 1000), pipelinetest.Compress(t, pipeline.Gzip, plainLayer(t, "b", 1000)))
	a, _ := w.pushImage("team/app", "1", s, img)
	if code, message := a.code(); a.status != http.StatusBadRequest || code != registry.ManifestInvalid || !strings.Contains(message, "digest mismatch") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// The whole backend does what a registry's has to.
func TestBackend(t *testing.T) {
	t.Parallel()
	pipelinetest.TestBackend(t, func(t *testing.T) registry.Backend {
		p := push.New(push.Config{Staging: pipelinetest.NewRegistry().Backend(), Keeper: newKeeper(), Rules: newRules(t, rules.Spec{}), TempDir: t.TempDir()})
		t.Cleanup(func() { _ = p.Drain(context.WithoutCancel(t.Context())) })
		return p.Backend()
	})
}
