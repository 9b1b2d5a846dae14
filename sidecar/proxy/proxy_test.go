package proxy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/sidecar/proxy"
	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
	"github.com/occystrap/occystrap/sidecar/proxy/rules"
)

// A running proxy of this process.
type running struct {
	*proxy.Proxy
	address string
}

// run serves a proxy until the test ends, which has to end well.
func run(t testing.TB, c proxy.Config) *running {
	t.Helper()
	if c.Store.Dir == "" {
		c.Store.Dir = t.TempDir()
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Listening = []net.Addr{l.Addr()}
	p, err := proxy.New(t.Context(), c)
	if err != nil {
		t.Fatal(errors.Join(err, l.Close()))
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(context.WithoutCancel(t.Context()), l) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := errors.Join(l.Close(), <-served, p.Close()); err != nil {
			t.Errorf("the proxy ends with %v", err)
		}
	})
	return &running{p, l.Addr().String()}
}

// ask makes a request and returns what is answered.
func (p *running) ask(t testing.TB, method, path string, body []byte, kind string) (status int, answer string, h http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.address+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw), resp.Header
}

const ociManifest = "application/vnd.oci.image.manifest.v1+json"

// push pushes team/app:1, an image of one blob, and returns both digests.
func (p *running) push(t testing.TB) (manifest, blob digest.Digest) {
	t.Helper()
	content := make([]byte, 1000)
	_, _ = rand.Read(content)
	blob = digest.FromBytes(content)
	if status, answer, _ := p.ask(t, http.MethodPost, "/v2/team/app/blobs/uploads/?digest="+blob.String(), content, "application/octet-stream"); status != http.StatusCreated {
		t.Fatalf("a blob is pushed with status %d: %s", status, answer)
	}
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":"application/x-test","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":1000},"layers":[]}`, ociManifest, blob)
	if status, answer, _ := p.ask(t, http.MethodPut, "/v2/team/app/manifests/1", raw, ociManifest); status != http.StatusCreated {
		t.Fatalf("a manifest is pushed with status %d: %s", status, answer)
	}
	return digest.FromBytes(raw), blob
}

// wants asks for something by GET and HEAD.
func (p *running) wants(t testing.TB, path string, get, head int) {
	t.Helper()
	for method, want := range map[string]int{http.MethodGet: get, http.MethodHead: head} {
		if status, answer, _ := p.ask(t, method, path, nil, ""); status != want {
			t.Errorf("%s %s is status %d, want %d: %s", method, path, status, want, answer)
		}
	}
}

// upstreamOf are the settings of a proxy that mirrors another.
func upstreamOf(up *running) proxy.Config {
	return proxy.Config{Upstream: up.address, Upstreams: []proxy.Upstream{{
		Remote: proxy.Remote{Host: up.address, Insecure: true}, Local: "hub", Rewrite: "team",
	}}}
}

// A name leads to what was pushed under it, else to the default upstream; a prefix
// and ns lead upstream. Pushes see nothing of upstream's.
func TestNamesThatNobodyPushedAreReadUpstream(t *testing.T) {
	t.Parallel()
	up := run(t, proxy.Config{})
	image, blob := up.push(t)
	p := run(t, upstreamOf(up))
	p.wants(t, "/v2/team/app/blobs/"+blob.String(), http.StatusOK, http.StatusNotFound)
	p.wants(t, "/v2/team/app/manifests/1", http.StatusOK, http.StatusOK)
	p.wants(t, "/v2/team/app/manifests/"+image.String(), http.StatusOK, http.StatusOK)
	p.wants(t, "/v2/hub/app/manifests/1", http.StatusOK, http.StatusOK)
	p.wants(t, "/v2/hub/app/blobs/"+blob.String(), http.StatusOK, http.StatusOK)
	p.wants(t, "/v2/team/app/manifests/1?ns="+up.address, http.StatusOK, http.StatusOK)
	p.wants(t, "/v2/team/app/manifests/2", http.StatusNotFound, http.StatusNotFound)
	p.wants(t, "/v2/team/other/tags/list", http.StatusNotFound, http.StatusNotFound)
	if status, answer, _ := p.ask(t, http.MethodGet, "/v2/team/app/tags/list", nil, ""); status != http.StatusOK || !strings.Contains(answer, `"1"`) {
		t.Errorf("tags are status %d: %s", status, answer)
	}
	mine, _ := p.push(t)
	if _, _, h := p.ask(t, http.MethodHead, "/v2/team/app/manifests/1", nil, ""); h.Get("Docker-Content-Digest") != mine.String() {
		t.Errorf("what was pushed is answered by %s, want %s", h.Get("Docker-Content-Digest"), mine)
	}
	if _, _, h := p.ask(t, http.MethodHead, "/v2/hub/app/manifests/1", nil, ""); h.Get("Docker-Content-Digest") != image.String() {
		t.Errorf("a push has changed what is mirrored: %s, want %s", h.Get("Docker-Content-Digest"), image)
	}
}

// Without a downstream, filters work on their way into the store.
func TestFiltersWithoutADownstream(t *testing.T) {
	t.Parallel()
	p := run(t, proxy.Config{All: rules.Spec{Filters: []string{"normalize-timestamps"}}})
	image, _ := p.push(t) // an artifact: no filter changes it
	p.wants(t, "/v2/team/app/manifests/1", http.StatusOK, http.StatusOK)
	p.wants(t, "/v2/team/app/manifests/"+image.String(), http.StatusOK, http.StatusOK)
}

// The proxy asks itself by the way that all requests take, TLS and logins besides, and
// finds out when its store is gone.
func TestTheProxyAsksItself(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	p, err := proxy.New(t.Context(), proxy.Config{Store: proxy.StoreConfig{Dir: t.TempDir()}, Access: proxy.Access{Secret: secret, NewSecret: true}})
	if err != nil {
		t.Fatal(err)
	}
	l := &visited{came: make(chan net.Conn), closed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- p.Serve(context.WithoutCancel(t.Context()), l) }()
	if err := p.Ask(t.Context(), l.visit); err != nil {
		t.Error(err)
	}
	if raw, err := os.ReadFile(secret); err != nil || len(raw) < 32 {
		t.Errorf("the secret is %d bytes: %v", len(raw), err)
	}
	if err := errors.Join(l.Close(), <-served, p.Close()); err != nil {
		t.Error(err)
	}
	if err := p.Ask(t.Context(), l.visit); err == nil {
		t.Error("a proxy that is closed answers itself")
	}
}

// Whether other registries answer is no question of whether the proxy does: systemd
// would else start it anew while they are away. They are not asked for it at all.
func TestTheProxyAsksNobodyElseWhetherItAnswers(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(broken.Close)
	other := proxy.Remote{Host: strings.TrimPrefix(broken.URL, "http://"), Insecure: true, Private: true}
	for name, c := range map[string]proxy.Config{
		"downstream":       {Downstream: other},
		"default upstream": {Upstream: other.Host, Upstreams: []proxy.Upstream{{Remote: other}}},
	} {
		c.Store.Dir = t.TempDir()
		p, err := proxy.New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		l := &visited{came: make(chan net.Conn), closed: make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- p.Serve(context.WithoutCancel(t.Context()), l) }()
		if err := p.Ask(t.Context(), l.visit); err != nil || asked.Load() > 0 {
			t.Errorf("%s: %v, and %d requests", name, err, asked.Load())
		}
		if err := errors.Join(l.Close(), <-served, p.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// visited is a listener whose guests are brought.
type visited struct {
	came   chan net.Conn
	closed chan struct{}
}

func (v *visited) visit(ctx context.Context, c net.Conn) bool {
	select {
	case v.came <- c:
		return true
	case <-v.closed:
	case <-ctx.Done():
	}
	return false
}

func (v *visited) Accept() (net.Conn, error) {
	select {
	case c := <-v.came:
		return c, nil
	case <-v.closed:
		return nil, net.ErrClosed
	}
}

func (v *visited) Close() error {
	select {
	case <-v.closed:
	default:
		close(v.closed)
	}
	return nil
}

func (*visited) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// What takes a new start is refused, as are mistakes; and the old settings stay.
func TestReload(t *testing.T) {
	t.Parallel()
	up := run(t, proxy.Config{})
	up.push(t)
	c := proxy.Config{Store: proxy.StoreConfig{Dir: t.TempDir()}}
	p := run(t, c)
	cert, key, _ := certificate(t, t.TempDir())
	for name, change := range map[string]func(*proxy.Config){
		"TLS":           func(c *proxy.Config) { c.Access.Cert, c.Access.Key = cert, key },
		"another store": func(c *proxy.Config) { c.Store.Dir = t.TempDir() },
		"marks":         func(c *proxy.Config) { c.Store.High = 1 << 30 },
		"temp":          func(c *proxy.Config) { c.TempDir = t.TempDir() },
		"filters":       func(c *proxy.Config) { c.All.Filters = []string{"none such"} },
		"users":         func(c *proxy.Config) { c.Access.Users = "/nowhere" },
		"certificate":   func(c *proxy.Config) { c.Access.Cert = "/nowhere" },
		"upstream":      func(c *proxy.Config) { c.Upstreams = []proxy.Upstream{{Remote: proxy.Remote{Host: "BAD"}}} },
	} {
		bad := c
		change(&bad)
		if err := p.Reload(bad); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	p.wants(t, "/v2/team/app/manifests/1", http.StatusNotFound, http.StatusNotFound)
	next := upstreamOf(up)
	next.Store, next.Listening = c.Store, nil
	if err := p.Reload(next); err != nil {
		t.Fatal(err)
	}
	p.wants(t, "/v2/team/app/manifests/1", http.StatusOK, http.StatusOK)
}

// What older settings have begun is ended with the proxy, too.
func TestCloseEndsWhatOlderSettingsBegan(t *testing.T) {
	t.Parallel()
	downstream := proxytest.NewRegistry(t)
	arrived := make(chan struct{}, 1)
	downstream.Break(proxytest.Of(http.MethodPut, "manifests", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body) // else nobody sees that the client goes
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	c := proxy.Config{Store: proxy.StoreConfig{Dir: t.TempDir()}, Downstream: proxy.Remote{Host: downstream.Host, Insecure: true}}
	p, err := proxy.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		raw := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
		r := httptest.NewRequestWithContext(ctx, http.MethodPut, "http://127.0.0.1/v2/app/manifests/1", strings.NewReader(raw))
		p.ServeHTTP(httptest.NewRecorder(), r)
	}()
	<-arrived
	leave()
	<-answered
	if err := p.Reload(c); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(attackPatience):
		t.Error("the proxy does not end")
	}
	if err := p.Reload(c); err == nil {
		t.Error("it takes settings after its end")
	}
}

// Whether the proxy is ready anybody may ask, and often: that does not cost more for each
// image that is kept.
func TestToBeReadyCostsTheSameWithMoreImages(t *testing.T) { //nolint:paralleltest // it counts what all allocate
	p := run(t, proxy.Config{})
	cost := func() float64 {
		return testing.AllocsPerRun(20, func() {
			w := httptest.NewRecorder()
			p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/readyz", nil))
			if w.Code != http.StatusOK {
				t.Errorf("/readyz is status %d: %s", w.Code, w.Body)
			}
		})
	}
	p.push(t)
	before := cost()
	for range 50 {
		p.push(t)
	}
	if after := cost(); after > 2*before+100 {
		t.Errorf("it costs %.0f allocations with one image, and %.0f with 51", before, after)
	}
}

// A second proxy at one store is told so, and leaves the first alone.
func TestOneProxyHasAStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := run(t, proxy.Config{Store: proxy.StoreConfig{Dir: dir}})
	if other, err := proxy.New(t.Context(), proxy.Config{Store: proxy.StoreConfig{Dir: dir}}); err == nil {
		t.Error(errors.Join(errors.New("two proxies have one store"), other.Close()))
	} else if !strings.Contains(err.Error(), "another process") {
		t.Errorf("it says %v", err)
	}
	p.push(t)
}

// Temporary files of a proxy that was killed are removed, and none are left.
func TestTemporaryFiles(t *testing.T) {
	t.Parallel()
	dir, temp := t.TempDir(), t.TempDir()
	left := func() (all []string) {
		all, _ = filepath.Glob(filepath.Join(temp, "*", "*"))
		return all
	}
	for range 2 {
		p, err := proxy.New(t.Context(), proxy.Config{Store: proxy.StoreConfig{Dir: dir}, TempDir: temp})
		if err != nil {
			t.Fatal(err)
		}
		if l := left(); len(l) > 0 {
			t.Errorf("there are %v", l)
		}
		folders, _ := filepath.Glob(filepath.Join(temp, "*"))
		if len(folders) != 1 {
			t.Fatalf("there are the folders %v", folders)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(folders[0], "of a killed one"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// A message of the guard's is what a page in a browser gets, whatever it asks for.
func TestGuardIsBeforeEverything(t *testing.T) {
	t.Parallel()
	p := run(t, proxy.Config{})
	for _, path := range []string{"/v2/", "/metrics", "/status", "/healthz"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1"+path, http.NoBody)
		r.Header.Set("Origin", "https://page.example")
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != http.StatusForbidden {
			t.Errorf("%s is status %d", path, w.Code)
		}
	}
	p.wants(t, "/healthz", http.StatusOK, http.StatusOK)
	p.wants(t, "/metrics", http.StatusOK, http.StatusOK)
}
