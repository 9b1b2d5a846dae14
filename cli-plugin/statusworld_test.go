package cliplugin_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	guard "github.com/occystrap/occystrap/sidecar/proxy/access"
	"github.com/occystrap/occystrap/sidecar/proxy/meter"
)

// startWatched: watched SECRET starts what tells of a proxy as a proxy does, to who
// knows the secret, at $WATCHED; nobody listens at $CLOSED.
func startWatched(ts *testscript.TestScript, _ bool, args []string) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := meter.New(meter.Config{
		Version: "v9", Now: func() time.Time { return now },
		Store: func(context.Context) (meter.StoreUse, error) {
			return meter.StoreUse{Bytes: 5e9, High: 10e9, Images: 3, Pinned: 1}, nil
		},
	})
	m.Hit(meter.Blob, 2e9)
	m.Hit(meter.Manifest, 0)
	m.Hit(meter.Manifest, 0)
	m.Miss(meter.Blob)
	m.Begin(meter.Transfer{What: "fetch", Host: "quay.io", Repository: "a/b\x1b[31m", Digest: "sha256:" + strings.Repeat("ab", 32), Done: 5e6, Total: 10e6})
	m.Asked("quay.io", "503", errors.New("GET https://quay.io/v2/: 503 Service Unavailable"))
	m.SetBudget("docker.io", meter.Budget{Limit: 100, Remaining: 7})
	now = now.Add(90 * time.Minute)
	inner := m.Handler(http.NotFoundHandler())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		if r.Header.Get(guard.SecretHeader) != args[0] && password != args[0] {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	ts.Defer(s.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	ts.Setenv("WATCHED", s.Listener.Addr().String())
	ts.Setenv("CLOSED", gone.Listener.Addr().String())
}
