package cliplugin_test

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

// The login at the registry that wants one.
const (
	username = "ann"
	password = "s3cr3t-of-ann"
)

var signals = map[string]os.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM}

// world is all that one script talks to.
type world struct {
	mu       sync.Mutex
	log      []string // "METHOD HOST PATH", of every server
	arrived  chan struct{}
	registry string
	docker   net.Listener // where Docker's own process waits for its plugin
}

type worldKey struct{}

// setUp gives a script its servers, as variables:
//
//	REGISTRY      an open registry           AUTH   one that wants ann's password
//	TLS_REGISTRY  the open one by TLS, trusted by whoever reads ca.pem
//	SLOW          the open one, which never finishes sending a layer
//	PROXY         an HTTP proxy that reaches the open one under every name
//	ENGINE        the socket of a daemon without any image
//	IMAGES        the folder of archives that other tools have made
//	EXAMPLES      the folder of examples that we ship
//	DOCKER_SOCKET what Docker gives a plugin, to see whether Docker is there
func setUp(env *testscript.Env) error {
	w := &world{arrived: make(chan struct{}, 1)}
	env.Values[worldKey{}] = w
	content := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	open := w.serve(env, httptest.NewServer, content)
	w.registry = open
	secure := httptest.NewTLSServer(w.recorded(content))
	env.Defer(secure.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(env.WorkDir, "ca.pem"), ca, 0o600); err != nil {
		return err
	}
	engine, err := w.engine(env)
	if err != nil {
		return err
	}
	w.docker, err = net.Listen("unix", filepath.Join(env.WorkDir, "docker.sock"))
	if err != nil {
		return err
	}
	env.Defer(func() { _ = w.docker.Close() })
	env.Setenv("DOCKER_SOCKET", w.docker.Addr().String())
	env.Setenv("OCCYSTRAP_SIDECAR", "/nowhere/sidecar.sock")
	for _, dir := range []string{"home", "docker", "tmp"} {
		if err := os.Mkdir(filepath.Join(env.WorkDir, dir), 0o700); err != nil {
			return err
		}
	}
	images, err := filepath.Abs("../pipeline/scheme/tarball/testdata/images")
	if err != nil {
		return err
	}
	examples, err := filepath.Abs("../contrib/examples")
	if err != nil {
		return err
	}
	env.Setenv("IMAGES", images)
	env.Setenv("EXAMPLES", examples)
	env.Setenv("REGISTRY", open)
	env.Setenv("AUTH", w.serve(env, httptest.NewServer, wantsLogin(content)))
	env.Setenv("TLS_REGISTRY", secure.Listener.Addr().String())
	env.Setenv("SLOW", w.serve(env, httptest.NewServer, w.slow(content)))
	env.Setenv("PROXY", w.serve(env, httptest.NewServer, proxyTo(open)))
	env.Setenv("ENGINE", engine)
	env.Setenv("USERNAME", username)
	env.Setenv("PASSWORD", password)
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
	env.Setenv("DOCKER_CONFIG", filepath.Join(env.WorkDir, "docker"))
	return nil
}

func (w *world) serve(env *testscript.Env, start func(http.Handler) *httptest.Server, h http.Handler) string {
	s := start(w.recorded(h))
	env.Defer(s.Close)
	return s.Listener.Addr().String()
}

// recorded remembers what was asked for.
func (w *world) recorded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.log = append(w.log, r.Method+" "+r.Host+" "+r.URL.Path)
		w.mu.Unlock()
		h.ServeHTTP(rw, r)
	})
}

func wantsLogin(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != username || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// slow sends the first byte of a large blob and then waits until the client is
// gone.
func (w *world) slow(h http.Handler) http.Handler {
	const small = 4096 // configs and manifests are below it
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			h.ServeHTTP(rw, r)
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			rw.Header()[k] = v
		}
		rw.WriteHeader(rec.Code)
		if rec.Body.Len() < small {
			_, _ = rw.Write(rec.Body.Bytes())
			return
		}
		_, _ = rw.Write(rec.Body.Bytes()[:1])
		rw.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's own
		select {
		case w.arrived <- struct{}{}:
		default:
		}
		<-r.Context().Done()
	})
}

func proxyTo(host string) http.Handler {
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = "http", host
	}}
}

// engine is a daemon that answers and has nothing.
func (w *world) engine(env *testscript.Env) (string, error) {
	path := filepath.Join(env.WorkDir, "engine.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		return "", err
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: w.recorded(http.HandlerFunc(noImages))}}
	s.Start()
	env.Defer(s.Close)
	return path, nil
}

func noImages(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.47")
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/_ping"):
		_, _ = io.WriteString(w, "OK")
	case strings.HasSuffix(r.URL.Path, "/version"):
		_, _ = io.WriteString(w, `{"ApiVersion":"1.47","Version":"27.0.0","Os":"linux","Arch":"amd64"}`)
	case strings.HasSuffix(r.URL.Path, "/info"):
		_, _ = io.WriteString(w, `{"Driver":"overlay2","OSType":"linux"}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"No such image"}`)
	}
}

// showRequests prints what all servers were asked for so far.
func showRequests(ts *testscript.TestScript, _ bool, _ []string) {
	w := worldOf(ts)
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := io.WriteString(ts.Stdout(), strings.Join(w.log, "\n")+"\n")
	ts.Check(err)
}

// awaitTransfer waits until the slow registry has begun to send a layer.
func awaitTransfer(ts *testscript.TestScript, _ bool, _ []string) {
	const patience = 10 * time.Second // a transfer begins at once, or never
	select {
	case <-worldOf(ts).arrived:
	case <-time.After(patience):
		ts.Fatalf("no transfer began")
	}
}

// hangUp ends the connection that a plugin has to Docker's own process.
func hangUp(ts *testscript.TestScript, _ bool, _ []string) {
	conn, err := worldOf(ts).docker.Accept()
	ts.Check(err)
	ts.Check(conn.Close())
}

func worldOf(ts *testscript.TestScript) *world {
	w, ok := ts.Value(worldKey{}).(*world)
	if !ok {
		ts.Fatalf("the script has no servers")
	}
	return w
}
