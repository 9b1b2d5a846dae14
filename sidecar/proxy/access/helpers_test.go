package access_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/access"
	"github.com/occystrap/occystrap/sidecar/proxy/route"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(clientVariable); address != "" {
		client(address)
		return
	}
	goleak.VerifyTestMain(m)
}

// clientVariable makes this program a client: of another user, in a test.
const clientVariable = "OCCYSTRAP_TEST_CLIENT"

// client asks once and prints the status, as whoever it runs as.
func client(address string) {
	resp, err := http.Get(address)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stdout, err)
		return
	}
	defer resp.Body.Close()
	_, _ = fmt.Fprintln(os.Stdout, resp.StatusCode)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The secrets of the tests.
const (
	theSecret = "the secret of this installation"
	theToken  = "a token that is long enough"
)

// file writes a file that only its owner reads.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// htpasswd is a file with alice, whose password is "wonderland".
func htpasswd(t *testing.T) string {
	t.Helper()
	return file(t, "# users\nalice:"+hash(t, "wonderland")+"\n")
}

func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	must(t, err)
	return string(h)
}

func guard(t *testing.T, c access.Config) *access.Guard {
	t.Helper()
	g, err := access.New(c)
	must(t, err)
	return g
}

// registryBehind is a proxy without its inner life: guard, routes, and registries in memory.
func registryBehind(t *testing.T, g *access.Guard) http.Handler {
	t.Helper()
	table, err := route.New(route.Config{Upstreams: []string{"docker.io", "private.example"}})
	must(t, err)
	pushed := registry.New(pipelinetest.NewRegistry().Backend(), registry.Options{})
	mirrored := registry.New(pipelinetest.NewRegistry().Backend(), registry.Options{})
	return g.Wrap(&route.Switch{
		Table: table, Pushed: pushed, Permit: g.Permit,
		Mirrored: func(string) *registry.Handler { return mirrored },
	})
}

// serve runs a guard's server until the test ends.
func serve(t *testing.T, g *access.Guard, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.Config = g.Server(h)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// An answer is what came back.
type answer struct {
	*http.Response
	body string
}

// ask makes a request to a handler on loopback; fields are names and values.
func ask(t *testing.T, h http.Handler, method, address string, fields ...string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:5050"+address, nil)
	r.RemoteAddr = "127.0.0.1:40000"
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
			continue
		}
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	resp := w.Result()
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	for name := range resp.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s %s: a page is told %s", method, address, name)
		}
	}
	return answer{resp, string(raw)}
}

// login is a value of Authorization.
func login(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// tcp is an address.
func tcp(t *testing.T, address string) []net.Addr {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", address)
	must(t, err)
	return []net.Addr{a}
}
