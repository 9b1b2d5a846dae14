package meter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/occystrap/occystrap/sidecar/proxy/meter"
)

// A far end's faults are counted by their reasons, its refusals are not faults, and
// what is written of them has no query, which may sign.
func TestAFarEndIsCounted(t *testing.T) {
	t.Parallel()
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/missing"):
			w.WriteHeader(http.StatusNotFound)
		case strings.HasSuffix(r.URL.Path, "/busy"):
			w.WriteHeader(http.StatusTooManyRequests)
		case strings.HasSuffix(r.URL.Path, "/cut"):
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "short")
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "0123456789")
		}
	}))
	defer far.Close()
	var out bytes.Buffer
	m := meter.New(meter.Config{Log: slog.New(slog.NewJSONHandler(&out, nil))})
	get := func(c *http.Client, path string) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, far.URL+path, nil)
		must(t, err)
		a, err := c.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, a.Body)
		return errors.Join(err, a.Body.Close())
	}
	up := &http.Client{Transport: m.Transport("quay.io", false, far.Client().Transport)}
	must(t, get(up, "/v2/a/blobs/"+digest+"?signature=hidden"))
	must(t, get(up, "/v2/a/manifests/missing"))
	must(t, get(up, "/v2/a/manifests/busy?signature=hidden"))
	if err := get(up, "/v2/a/manifests/cut?signature=hidden"); err == nil {
		t.Error("a short body is whole")
	}
	down := &http.Client{Transport: m.Transport("keeper.example", true, far.Client().Transport)}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, far.URL+"/v2/a/blobs/uploads/x?digest="+digest, strings.NewReader("1234"))
	must(t, err)
	a, err := down.Do(r)
	must(t, err)
	_, err = io.Copy(io.Discard, a.Body)
	must(t, errors.Join(err, a.Body.Close()))
	far.Close()
	if err := get(down, "/v2/"); err == nil {
		t.Error("a closed server answers")
	}

	m.SetBudget("quay.io", meter.Budget{Limit: 100, Remaining: 7, Window: time.Hour})
	s := m.Status(t.Context())
	if s.Bytes[meter.UpstreamIn] != 15 || s.Bytes[meter.DownstreamOut] != 4 || s.Bytes[meter.DownstreamIn] != 10 || len(s.Moving) != 0 {
		t.Errorf("%+v", s)
	}
	if len(s.Hosts) != 2 {
		t.Fatalf("%+v", s.Hosts)
	}
	keeper, quay := s.Hosts[0], s.Hosts[1]
	if quay.Requests != 4 || fmt.Sprint(quay.Errors) != "map[429:1 cut:1]" || quay.Budget.Remaining != 7 || quay.Downstream {
		t.Errorf("%+v", quay)
	}
	if keeper.Requests != 2 || fmt.Sprint(keeper.Errors) != "map[refused:1]" || !keeper.Downstream || keeper.Healthy() {
		t.Errorf("%+v", keeper)
	}
	if n := strings.Count(out.String(), "\n"); n != 3 || strings.Contains(out.String(), "hidden") || !strings.Contains(out.String(), `"reason":"429"`) {
		t.Errorf("%d lines: %s", n, out.String())
	}
}

// However many names there are, the number of series is bounded.
func TestHostsAreBounded(t *testing.T) {
	t.Parallel()
	m := meter.New(meter.Config{})
	for i := range 1000 {
		m.Asked(fmt.Sprintf("h%d", i), fmt.Sprintf("r%d", i), errors.New("x"))
	}
	for i := range 1000 {
		m.Asked("h0", fmt.Sprintf("r%d", i), errors.New("x"))
	}
	s := m.Status(t.Context())
	if len(s.Hosts) > 200 {
		t.Errorf("%d hosts", len(s.Hosts))
	}
	for _, h := range s.Hosts {
		if len(h.Errors) > 200 {
			t.Errorf("%d reasons", len(h.Errors))
		}
	}
}

// Everything may be called at once (for the race detector).
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	m := meter.New(meter.Config{Store: func(context.Context) (meter.StoreUse, error) { return meter.StoreUse{}, nil }})
	s := served(t, m, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "12345")
		m.Hit(meter.Blob, 5)
		m.Asked(r.Host, "503", errors.New("x"))
		m.SetBudget(r.Host, meter.Budget{Remaining: 1})
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, path := range []string{"/v2/a/blobs/" + digest, meter.MetricsPath, meter.StatusPath, "/v2/"} {
				asked(t, s, http.MethodGet, path, nil)
			}
		})
	}
	all.Wait()
	s.Close() // waits for the handlers
	if got := m.Status(t.Context()); got.Requests != 16 || got.Bytes[meter.ClientOut] != 80 {
		t.Errorf("%+v", got)
	}
}
