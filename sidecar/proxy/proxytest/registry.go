package proxytest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
)

// A Registry is a registry on 127.0.0.1 that keeps all in memory, counts what is asked
// of it, and can be broken.
type Registry struct {
	*Client
	// Host is its address: "127.0.0.1:5000".
	Host    string
	Backend registry.Backend

	handler http.Handler
	closing context.Context //nolint:containedctx // ends what stalls

	// life is held for reading while a request is answered. Only those of connections
	// that were accepted in the present one are.
	life  sync.RWMutex
	lives atomic.Int64

	mu     sync.Mutex
	broken Fault
	asked  map[string]int
	tokens int    // made so far
	token  string // the only one that counts; "" while nobody needs one
	login  bool
}

// A Fault answers in the place of a registry; next is how it would.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// NewRegistry starts an empty registry; the end of the test ends it.
func NewRegistry(t testing.TB) *Registry {
	t.Helper()
	r := &Registry{Backend: pipelinetest.NewRegistry().Backend(), asked: map[string]int{}}
	r.handler = registry.New(r.Backend, registry.Options{})
	server := httptest.NewUnstartedServer(r)
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, lifeKey{}, r.lives.Load())
	}
	server.Start()
	ctx, stop := context.WithCancel(context.Background())
	r.closing = ctx
	t.Cleanup(func() {
		stop()
		server.CloseClientConnections()
		server.Close()
	})
	r.Client = &Client{Base: server.URL, HTTP: server.Client(), Edit: func(req *http.Request) { req.Header.Set(own, "1") }}
	r.Host = strings.TrimPrefix(server.URL, "http://")
	return r
}

// own marks the requests of the registry's own client, which is never refused and
// never counted.
const own = "X-Test-Own"

// lifeKey is the key of the life in which a connection was accepted.
type lifeKey struct{}

// HangUp forgets who is connected, but for the registry's own client. When it returns,
// nothing is answered or done any more of what was sent until then, so that a client
// which was killed changes nothing afterwards.
func (r *Registry) HangUp(t testing.TB) {
	t.Helper()
	// Connections are accepted in their order: behind a new one that is answered, none
	// waits that is older.
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if a, err := (&Client{Base: r.Base, HTTP: fresh, Edit: r.Edit}).Do(t.Context(), http.MethodGet, "/v2/", nil); err != nil || a.Status != http.StatusOK {
		t.Fatalf("the registry does not answer: status %d, %v", a.Status, err)
	}
	r.life.Lock()
	defer r.life.Unlock()
	r.lives.Add(1)
}

// Push puts an image there, past all faults.
func (r *Registry) Push(t testing.TB, repository string, s *pipelinetest.Store, root ocispec.Descriptor, tag string) {
	t.Helper()
	if _, err := r.Client.Push(t.Context(), repository, s, root, tag); err != nil {
		t.Fatal(err)
	}
}

// Break has a fault answer from now on; nil heals the registry.
func (r *Registry) Break(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = f
}

// RequireToken demands a bearer token with each request, and makes those worthless
// that were given out.
func (r *Registry) RequireToken() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens++
	r.login, r.token = true, fmt.Sprint("token-", r.tokens)
}

// Asked is how often the proxy made a request ("GET /v2/a/manifests/1").
func (r *Registry) Asked(request string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[request]
}

// AllAsked are all requests so far, by how often they came.
func (r *Registry) AllAsked() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.asked)
}

// ServeHTTP answers, or has the fault answer.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Header.Get(own) != "" {
		r.handler.ServeHTTP(w, req)
		return
	}
	r.life.RLock()
	defer r.life.RUnlock()
	if req.Context().Value(lifeKey{}) != r.lives.Load() {
		panic(http.ErrAbortHandler)
	}
	r.mu.Lock()
	r.asked[req.Method+" "+req.URL.Path]++
	broken := r.broken
	r.mu.Unlock()
	if broken != nil {
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		defer context.AfterFunc(r.closing, cancel)() //nolint:contextcheck // it ends with the registry, too
		broken(w, req.WithContext(ctx), http.HandlerFunc(r.serve))
		return
	}
	r.serve(w, req)
}

// serve answers who has a token.
func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	token, login := r.token, r.login
	r.mu.Unlock()
	switch {
	case req.URL.Path == "/token":
		_ = json.NewEncoder(w).Encode(map[string]string{"token": token}) // a client that went away
	case login && req.Header.Get("Authorization") != "Bearer "+token:
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		r.handler.ServeHTTP(w, req)
	}
}
