package remote_test

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

func TestPublicOnly(t *testing.T) {
	t.Parallel()
	allow := remote.PublicOnly("registry.corp:5000", "Mirror.corp", "127.0.0.1:5001", "[::1]", "docker.io")
	tests := []struct {
		host, ip string
		want     bool
	}{
		{"registry-1.docker.io:443", "44.208.254.194", true},
		{"ghcr.io:443", "2606:50c0:8000::154", true},
		{"ghcr.io:443", "10.1.2.3", false},
		{"ghcr.io:443", "172.16.0.1", false},
		{"ghcr.io:443", "172.32.0.1", true},
		{"ghcr.io:443", "192.168.1.1", false},
		{"ghcr.io:443", "127.0.0.1", false},
		{"ghcr.io:443", "127.255.0.1", false},
		{"ghcr.io:443", "169.254.169.254", false}, // where clouds keep credentials
		{"ghcr.io:443", "100.100.100.200", false}, // where another does
		{"ghcr.io:443", "0.0.0.0", false},
		{"ghcr.io:443", "0.1.2.3", false},
		{"ghcr.io:443", "224.0.0.1", false},
		{"ghcr.io:443", "239.255.255.250", false},
		{"ghcr.io:443", "255.255.255.255", false},
		{"ghcr.io:443", "240.0.0.1", false},
		{"ghcr.io:443", "198.18.0.1", false},
		{"ghcr.io:443", "::", false},
		{"ghcr.io:443", "::1", false},
		{"ghcr.io:443", "fe80::1", false},
		{"ghcr.io:443", "fe80::1%eth0", false},
		{"ghcr.io:443", "fd00:ec2::254", false},
		{"ghcr.io:443", "fec0::1", false},
		{"ghcr.io:443", "ff02::1", false},
		{"ghcr.io:443", "::ffff:10.0.0.1", false},
		{"ghcr.io:443", "::ffff:8.8.8.8", true},
		{"ghcr.io:443", "::10.0.0.1", false},
		{"ghcr.io:443", "64:ff9b::10.0.0.1", false},
		{"ghcr.io:443", "64:ff9b::8.8.8.8", true},
		{"ghcr.io:443", "64:ff9b:1::a00:1", false},
		{"ghcr.io:443", "2002:a00:1::1", false},
		{"registry.corp:5000", "10.1.2.3", true},
		{"REGISTRY.corp:5000", "10.1.2.3", true},
		{"registry.corp:443", "10.1.2.3", false},
		{"mirror.corp:443", "fd00::1", true},
		{"mirror.corp:80", "192.168.1.1", true},
		{"mirror.corp:2375", "192.168.1.1", false},
		{"x.mirror.corp:443", "192.168.1.1", false},
		{"127.0.0.1:5001", "127.0.0.1", true},
		{"127.0.0.1:5002", "127.0.0.1", false},
		{"[::1]:443", "::1", true},
		{"registry-1.docker.io:443", "10.0.0.1", true}, // a mirror inside, which was configured
	}
	for _, test := range tests {
		if got := allow(test.host, netip.MustParseAddr(test.ip)); got != test.want {
			t.Errorf("%s at %s: %v, want %v", test.host, test.ip, got, test.want)
		}
	}
}

func TestNoLinkLocal(t *testing.T) {
	t.Parallel()
	allow := remote.NoLinkLocal("169.254.7.7:5000")
	for at, want := range map[[2]string]bool{
		{"registry.corp:443", "10.1.2.3"}:                 true,
		{"registry.corp:443", "127.0.0.1"}:                true,
		{"registry.corp:443", "8.8.8.8"}:                  true,
		{"registry.corp:443", "169.254.169.254"}:          false,
		{"registry.corp:443", "::ffff:169.254.169.254"}:   false,
		{"registry.corp:443", "64:ff9b::169.254.169.254"}: false,
		{"registry.corp:443", "2002:a9fe:a9fe::1"}:        false,
		{"registry.corp:443", "fe80::1%eth0"}:             false,
		{"169.254.7.7:5000", "169.254.7.7"}:               true,
		{"169.254.7.7:80", "169.254.7.7"}:                 false,
	} {
		if got := allow(at[0], netip.MustParseAddr(at[1])); got != want {
			t.Errorf("%s at %s: %v, want %v", at[0], at[1], got, want)
		}
	}
}

// guarded is a configuration that lets servers of this machine be reached only if
// they are named.
func guarded(f ...*far) remote.Config {
	var named []string
	for _, one := range f {
		named = append(named, one.host())
	}
	cfg := quick()
	cfg.Allow = remote.PublicOnly(named...)
	return cfg
}

func TestPrivateAddressMustBeConfigured(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	f := serve(t, s)
	_, port, err := net.SplitHostPort(f.host())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{f.host(), "localhost:" + port, "[::ffff:127.0.0.1]:" + port} {
		_, err := newClient(t, guarded()).Repository(host, "team/app").Stat(t.Context(), registry.Ref{Tag: "1"})
		wantError(t, err, "not public")
		if remote.Passing(err) {
			t.Errorf("%s: it passes: %v", host, err)
		}
	}
	if n := len(f.requests("")); n != 0 {
		t.Errorf("%d requests came through", n)
	}
	if _, err := newClient(t, guarded(f)).Repository(f.host(), "team/app").Stat(t.Context(), registry.Ref{Tag: "1"}); err != nil {
		t.Error(err)
	}
}

func TestRedirectToAPrivateAddressIsRefused(t *testing.T) {
	t.Parallel()
	secret := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") }))
	_, port, _ := net.SplitHostPort(secret.host())
	for name, target := range map[string]string{"by address": "http://" + secret.host() + "/x", "by name": "http://localhost:" + port + "/x"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, http.StatusFound) }))
			r := repository(t, guarded(f), f)
			_, _, err := r.OpenBlob(t.Context(), digest.FromString("x"), 0)
			wantError(t, err, "not public")
			_, _, err = r.Manifest(t.Context(), registry.Ref{Tag: "1"})
			wantError(t, err, "not public")
		})
	}
	t.Cleanup(func() {
		if n := len(secret.requests("")); n != 0 {
			t.Errorf("%d requests came through", n)
		}
	})
}

func TestRealmAtAPrivateAddressIsRefused(t *testing.T) {
	t.Parallel()
	inside := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"x"}`) }))
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+inside.URL+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	_, err := repository(t, guarded(f), f).Stat(t.Context(), registry.Ref{Tag: "1"})
	wantError(t, err, "not public")
	if n := len(inside.requests("")); n != 0 {
		t.Errorf("%d requests came through", n)
	}
}

func TestHostileRealmGetsNoLoginOfAClient(t *testing.T) {
	t.Parallel()
	var got atomic.Bool
	cfg := quick()
	cfg.Source = credential.Static("bob", "s3cret")
	cfg.Sink = cfg.Source
	cfg.Transport = direct{
		"evil.test": http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got.Store(got.Load() || r.Header.Get("Authorization") != "")
		}),
		"registry.example": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://evil.test/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}),
	}
	r := newClient(t, cfg).Repository("registry.example", "team/app")
	_, _, err := r.OpenBlob(t.Context(), digest.FromString("x"), 0)
	wantError(t, err, "evil.test", "not of its domain")
	_, err = r.Stat(t.Context(), registry.Ref{Tag: "1"})
	wantError(t, err, "evil.test")
	_, err = pipeline.Run(t.Context(), image(t, pipeline.Gzip), nil, r.Sink([]string{"1"}), onAMD64())
	wantError(t, err, "evil.test")
	if got.Load() {
		t.Error("the login was sent")
	}
}

func TestProxyIsReachedAndLeadsToNoPrivateAddress(t *testing.T) {
	var seen []string
	proxy := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Host)
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	cfg := guarded()
	cfg.Insecure = true
	c := newClient(t, cfg)
	for _, host := range []string{"10.0.0.1", "169.254.169.254", "0x7f.1", "2130706433", "app.localhost", "127.1", "[fd00::1]:5000"} {
		_, err := c.Repository(host, "a").Stat(t.Context(), registry.Ref{Tag: "1"})
		wantError(t, err, "not public")
	}
	_, err := c.Repository("registry.example", "a").Stat(t.Context(), registry.Ref{Tag: "1"})
	wantError(t, err, "404")
	if len(seen) != 1 || !strings.HasPrefix(seen[0], "registry.example") {
		t.Errorf("the proxy was asked for %q", seen)
	}
	host, err := newClient(t, cfg).Repository(proxy.host(), "a").Stat(t.Context(), registry.Ref{Tag: "1"})
	wantError(t, err, "not public") // the proxy itself is no registry
	_ = host
}
