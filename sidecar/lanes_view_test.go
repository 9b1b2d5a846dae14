package sidecar

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/plugin/control/wire"
)

// heard is a view on a port of its own, behind a gate with the control socket, until
// the test ends.
func heard(t *testing.T, s viewSettings) string {
	t.Helper()
	p := &program{version: "v1", log: discard()}
	ctx, cancel := context.WithCancel(t.Context())
	vs, err := p.viewListeners(ctx, nil, s)
	must(t, err)
	l, err := socket{network: wire.Network, path: filepath.Join(short(t), "s"), group: -1}.listen(ctx)
	must(t, err)
	server := lanesServer(p)
	view, err := p.view(s, server, vs)
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- p.serveLanes(ctx, []net.Listener{l}, vs, 0, server, view) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
	return vs[0].Addr().String()
}

func asked(t *testing.T, at, path string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+path, nil)
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a, err := c.Do(r)
	must(t, err)
	raw, err := io.ReadAll(a.Body)
	must(t, errors.Join(err, a.Body.Close()))
	return a.StatusCode, string(raw)
}

func TestTheViewIsGuarded(t *testing.T) {
	t.Parallel()
	at := heard(t, viewSettings{Listen: "127.0.0.1:0", Hosts: []string{"view.example"}})
	for header, want := range map[[2]string]int{
		{"Accept", "*/*"}:                  http.StatusOK,
		{"Host", "view.example"}:           http.StatusOK,
		{"Host", "rebound.example"}:        http.StatusMisdirectedRequest,
		{"Origin", "https://evil.example"}: http.StatusForbidden,
	} {
		if got, body := asked(t, at, "/v2/", header[:]...); got != want || got == http.StatusMisdirectedRequest && !strings.Contains(body, "hosts of [lanes.view]") {
			t.Errorf("%v is %d %s, want %d", header, got, body, want)
		}
	}
	if got, body := asked(t, at, "/v2/app/manifests/1"); got != http.StatusNotFound || !strings.Contains(body, "UNKNOWN") {
		t.Errorf("an image that is not there is %d %s", got, body)
	}
}

func TestTheViewWantsALoginWhereItSaysSo(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdef0123456789abcdef" // of nobody
	file := filepath.Join(t.TempDir(), "tokens")
	must(t, os.WriteFile(file, []byte("kind:"+token+"\n"), 0o600))
	at := heard(t, viewSettings{Listen: "127.0.0.1:0", Tokens: file})
	for _, path := range []string{"/v2/", "/v2/app/manifests/1", "/v2/app/blobs/sha256:" + strings.Repeat("0", 64)} {
		if got, _ := asked(t, at, path); got != http.StatusUnauthorized {
			t.Errorf("%s is %d for nobody", path, got)
		}
	}
	if got, body := asked(t, at, "/v2/", "Authorization", "Bearer "+token); got != http.StatusOK {
		t.Errorf("with the token it is %d %s", got, body)
	}
}

// Others than this machine's programs are not let in by a mistake.
func TestTheViewBeyondLoopbackNeedsALogin(t *testing.T) {
	t.Parallel()
	p := &program{version: "v1", log: discard()}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	must(t, err)
	defer l.Close()
	if _, err := p.view(viewSettings{}, lanesServer(p), []net.Listener{l}); err == nil || !strings.Contains(err.Error(), "give a file of users or tokens ([lanes.view])") {
		t.Errorf("it is %v", err)
	}
	if s, err := p.view(viewSettings{}, lanesServer(p), nil); s != nil || err != nil {
		t.Errorf("without a listener there is %v, %v", s, err)
	}
}
