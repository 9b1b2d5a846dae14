package meter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/occystrap/occystrap/sidecar/proxy/meter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// asked is the answer to a request to a server.
func asked(t testing.TB, s *httptest.Server, method, path string, body io.Reader) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	must(t, err)
	a, err := s.Client().Do(r)
	must(t, err)
	raw, err := io.ReadAll(a.Body)
	must(t, errors.Join(err, a.Body.Close()))
	return a.StatusCode, string(raw)
}

// served is a server over a handler that is counted.
func served(t testing.TB, m *meter.Meter, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(m.Handler(m.Wrap(h)))
	t.Cleanup(s.Close)
	return s
}

func TestRequestsAndBytesAreCounted(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "blob")
	must(t, os.WriteFile(name, bytes.Repeat([]byte("x"), 1000), 0o600))
	m := meter.New(meter.Config{Version: "v9"})
	s := served(t, m, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet:
			f, err := os.Open(name)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			w.Header().Set("Content-Length", "1000")
			_, _ = io.Copy(w, f)
		case http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	asked(t, s, http.MethodGet, "/v2/some/repo/blobs/"+digest, nil)
	asked(t, s, http.MethodHead, "/v2/some/repo/manifests/latest", nil)
	asked(t, s, http.MethodPatch, "/v2/some/repo/blobs/uploads/11111111-1111-1111-1111-111111111111", strings.NewReader("12345"))
	asked(t, s, "STRANGE", "/v2/some/repo/tags/list", nil)
	m.Hit(meter.Blob, 700)
	m.Hit(meter.Manifest, 0)
	m.Hit(meter.Manifest, 0)
	m.Miss(meter.Blob)
	m.Queue(2)
	s.Close() // waits for the handlers
	got := m.Status(t.Context())
	if got.Requests != 4 || got.Failed != 2 || got.Bytes[meter.ClientOut] != 1000 || got.Bytes[meter.ClientIn] != 5 || got.HitRate != 0.75 || got.Saved != 700 || got.InFlight != 0 || len(got.Moving) != 0 {
		t.Errorf("%+v", got)
	}
	_, text := asked(t, served(t, m, nil), http.MethodGet, meter.MetricsPath, nil)
	for _, line := range []string{
		`occystrap_proxy_build_info{version="v9"} 1`,
		`occystrap_proxy_requests_total{endpoint="blob",method="GET",status="200"} 1`,
		`occystrap_proxy_requests_total{endpoint="manifest",method="HEAD",status="404"} 1`,
		`occystrap_proxy_requests_total{endpoint="upload",method="PATCH",status="502"} 1`,
		`occystrap_proxy_requests_total{endpoint="tags",method="other",status="502"} 1`,
		`occystrap_proxy_request_seconds_count{endpoint="blob"} 1`,
		`occystrap_proxy_request_seconds_bucket{endpoint="blob",le="+Inf"} 1`,
		`occystrap_proxy_bytes_total{side="client_out"} 1000`,
		`occystrap_proxy_hits_total{kind="manifest"} 2`,
		`occystrap_proxy_saved_bytes_total 700`,
		`occystrap_proxy_queue 2`,
		`occystrap_proxy_ready 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	if strings.Contains(text, "some/repo") || strings.Contains(text, "STRANGE") {
		t.Error("what a client chose is a label")
	}
}

// What moves is seen while it moves, and not after.
func TestWhatIsInMotionIsSeen(t *testing.T) {
	t.Parallel()
	m := meter.New(meter.Config{})
	half, goOn := make(chan struct{}), make(chan struct{})
	s := served(t, m, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "12345")
		close(half)
		<-goOn
		_, _ = io.WriteString(w, "67890")
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		asked(t, s, http.MethodGet, "/v2/a/b/blobs/"+digest, nil)
	}()
	<-half
	got := m.Status(t.Context())
	if len(got.Moving) != 1 || got.InFlight != 1 {
		t.Fatalf("%+v", got)
	}
	if one := got.Moving[0]; one.What != "pull" || one.Repository != "a/b" || one.Digest != digest || one.Done != 5 || one.Total != 10 {
		t.Errorf("%+v", one)
	}
	close(goOn)
	<-ended
	s.Close() // waits for the handler
	if got := m.Status(t.Context()); len(got.Moving) != 0 || got.InFlight != 0 {
		t.Errorf("%+v", got)
	}
}

// A body that is cut off with a panic is counted, and nothing moves any more.
func TestAnAbortedAnswerIsCounted(t *testing.T) {
	t.Parallel()
	m := meter.New(meter.Config{})
	h := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	}))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/a/blobs/"+digest, nil))
	}()
	if got := m.Status(t.Context()); got.Requests != 1 || len(got.Moving) != 0 || got.InFlight != 0 {
		t.Errorf("%+v", got)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	var broken error
	allow := true
	m := meter.New(meter.Config{
		Ready: func(context.Context) error { return broken },
		Allow: func(*http.Request) bool { return allow },
		Store: func(context.Context) (meter.StoreUse, error) { return meter.StoreUse{Bytes: 5, Images: 2}, nil },
	})
	s := served(t, m, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, step := range []struct {
		do     func()
		path   string
		method string
		want   int
		text   string
	}{
		{nil, meter.HealthPath, http.MethodGet, 200, "ok"},
		{nil, meter.ReadyPath, http.MethodGet, 200, "ok"},
		{nil, meter.StatusPath, http.MethodGet, 200, `"images":2`},
		{nil, meter.StatusPath, http.MethodPost, 405, ""},
		{nil, "/v2/", http.MethodGet, http.StatusTeapot, ""},
		{nil, meter.MetricsPath, http.MethodGet, 200, "occystrap_proxy_store_bytes 5\n"},
		{func() { broken = errors.New("the disk is gone") }, meter.ReadyPath, http.MethodGet, 503, "the disk is gone"},
		{nil, meter.HealthPath, http.MethodGet, 200, "ok"},
		{nil, meter.MetricsPath, http.MethodGet, 200, "occystrap_proxy_ready 0\n"},
		{func() { broken = nil; m.Drain() }, meter.ReadyPath, http.MethodGet, 503, "the proxy stops"},
		{func() { allow = false }, meter.MetricsPath, http.MethodGet, 403, "loopback"},
		{nil, meter.StatusPath, http.MethodGet, 403, "loopback"},
		{nil, meter.HealthPath, http.MethodGet, 200, "ok"},
	} {
		if step.do != nil {
			step.do()
		}
		if status, text := asked(t, s, step.method, step.path, nil); status != step.want || !strings.Contains(text, step.text) {
			t.Errorf("%s %s is %d %s, want %d %s", step.method, step.path, status, text, step.want, step.text)
		}
	}
}

// A nil Meter changes nothing.
func TestNoMeterCountsNothing(t *testing.T) {
	t.Parallel()
	var m *meter.Meter
	m.Hit(meter.Blob, 1)
	m.Miss(meter.Blob)
	m.Image(meter.Image{})
	m.Queue(1)
	m.Drain()
	m.Bytes(meter.ClientIn, 1)
	m.Asked("h", "x", errors.New("x"))
	m.SetBudget("h", meter.Budget{})
	n := m.Begin(meter.Transfer{})
	n.Add(1)
	n.End()
	h := http.NewServeMux()
	if m.Wrap(h) != h || m.Handler(h) != h || m.Transport("h", false, http.DefaultTransport) != http.DefaultTransport {
		t.Error("it stands between")
	}
	if s := m.Status(t.Context()); s.Requests != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnImageIsALine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	m := meter.New(meter.Config{Log: slog.New(slog.NewJSONHandler(&out, nil))})
	m.Image(meter.Image{Repository: "a/b", Tags: []string{"1", "2"}, Received: digest, Stored: "sha256:other", Bytes: 10, Reused: 3, Duration: 1500 * time.Millisecond})
	m.Image(meter.Image{Pull: true, Host: "docker.io", Repository: "library/x", Err: errors.New("no way")})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), out.String())
	}
	var first, second map[string]any
	must(t, errors.Join(json.Unmarshal([]byte(lines[0]), &first), json.Unmarshal([]byte(lines[1]), &second)))
	for k, v := range map[string]any{"msg": "pushed", "repository": "a/b", "tag": "1,2", "received": digest, "stored": "sha256:other", "bytes": 10.0, "reused": 3.0, "duration": 1.5e9} {
		if first[k] != v {
			t.Errorf("%s is %v, want %v", k, first[k], v)
		}
	}
	if second["msg"] != "not pulled" || second["level"] != "WARN" || second["error"] != "no way" || second["host"] != "docker.io" {
		t.Error(lines[1])
	}
	if s := m.Status(t.Context()); s.Images != (meter.Images{Pushed: 1, PullFailed: 1}) {
		t.Errorf("%+v", s.Images)
	}
}
