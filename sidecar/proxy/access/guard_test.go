package access_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/sidecar/proxy/access"
)

// DNS rebinding: a page of evil.example, whose name leads to 127.0.0.1 by now, tells its
// own name as Host.
func TestOnlyListedNamesAreServed(t *testing.T) {
	t.Parallel()
	c := access.Config{Listen: tcp(t, "192.0.2.7:5050"), Users: htpasswd(t), Hosts: []string{"Proxy.example", "2001:db8::1"}}
	h := registryBehind(t, guard(t, c))
	in := login("alice", "wonderland")
	for host, want := range map[string]int{
		"127.0.0.1:5050": 200, "127.0.0.1": 200, "127.9.9.9:1": 200, "localhost:5050": 200, "LOCALHOST": 200, "[::1]:5050": 200, "[::ffff:127.0.0.1]:5050": 200,
		"192.0.2.7:5050": 200, "proxy.example": 200, "PROXY.EXAMPLE:443": 200, "[2001:db8::1]:5050": 200,
		"evil.example": 421, "evil.example:5050": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "127.0.0.1.": 421, "localhost.": 421,
		"192.0.2.8": 421, "[2001:db8::2]": 421, "2130706433": 421, "0x7f.1": 421, "169.254.169.254": 421, "": 421, ":5050": 421, "a b": 421, "localhost:5050:5050": 421,
		"localhost@evil.example": 421, "[localhost]": 421, "evil.example#localhost": 421, "0.0.0.0:5050": 421,
	} {
		if a := ask(t, h, "GET", "/v2/", "Host", host, "Authorization", in); a.StatusCode != want {
			t.Errorf("%q: %s, want %d", host, a.Status, want)
		} else if want == 421 && !strings.Contains(a.body, `"DENIED"`) {
			t.Errorf("%q: %s", host, a.body)
		}
	}
}

// With a listener at all addresses, that where a client arrived is one by which it may call.
func TestTheAddressThatWasReachedIsListed(t *testing.T) {
	t.Parallel()
	g := guard(t, access.Config{Listen: tcp(t, "0.0.0.0:5050"), Users: htpasswd(t)})
	h := registryBehind(t, g)
	for host, want := range map[string]int{"198.51.100.1:5050": 401, "198.51.100.2:5050": 421, "0.0.0.0": 421} {
		at := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			here := &net.TCPAddr{IP: net.ParseIP("198.51.100.1"), Port: 5050}
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(here))))
		})
		if a := ask(t, at, "GET", "/v2/", "Host", host); a.StatusCode != want {
			t.Errorf("%q: %s, want %d", host, a.Status, want)
		}
	}
}

// Cross-site requests: what a page may have a browser send without asking first, and the
// question itself.
func TestPagesInBrowsersAreRefused(t *testing.T) {
	t.Parallel()
	h := registryBehind(t, guard(t, access.Config{}))
	upload := "/v2/app/blobs/uploads/"
	for _, c := range []struct {
		method string
		fields []string
		want   int
	}{
		{"POST", nil, 202},
		{"POST", []string{"Sec-Fetch-Site", "none"}, 202},
		{"POST", []string{"Sec-Fetch-Site", "same-origin"}, 202},
		{"POST", []string{"Origin", "https://evil.example"}, 403},
		{"POST", []string{"Origin", "null"}, 403},
		{"POST", []string{"Origin", ""}, 403},
		{"POST", []string{"Origin", "http://127.0.0.1:5050"}, 403},
		{"POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"POST", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", []string{"Sec-Fetch-Site", "new-word"}, 403},
		{"OPTIONS", []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "PUT"}, 405},
		{"GET", []string{"Access-Control-Request-Method", "PUT"}, 403},
		{"TRACE", nil, 405},
		{"CONNECT", nil, 405},
		{"PROPFIND", nil, 405},
		{"post", nil, 405},
	} {
		if a := ask(t, h, c.method, upload, c.fields...); a.StatusCode != c.want {
			t.Errorf("%s %q: %s, want %d", c.method, c.fields, a.Status, c.want)
		}
	}
}

func TestRefusalsAreLoggedInOneLineEach(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	g := guard(t, access.Config{Log: slog.New(slog.NewTextHandler(&out, nil)), Secret: file(t, theSecret)})
	h := registryBehind(t, g)
	ask(t, h, "GET", "/v2/a%0d%0alevel=ERROR/manifests/1", "Host", "evil.example")
	ask(t, h, "GET", "/v2/", "Authorization", login("x", "wrong password"))
	ask(t, h, "POST", "/v2/app/blobs/uploads/", access.SecretHeader, theSecret+"?")
	if n := strings.Count(out.String(), "\n"); n != 3 || strings.Count(out.String(), "level=WARN") != 3 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
	for _, secret := range []string{theSecret, "wrong password", login("x", "wrong password")} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	out.Reset()
	for range 1000 {
		ask(t, h, "GET", "/v2/", "Host", "evil.example")
	}
	if n := strings.Count(out.String(), "\n"); n > 500 {
		t.Errorf("%d lines of a flood", n)
	}
}

func TestOverlongAddressesAreRefused(t *testing.T) {
	t.Parallel()
	h := registryBehind(t, guard(t, access.Config{}))
	if a := ask(t, h, "GET", "/v2/?x="+strings.Repeat("y", 16<<10)); a.StatusCode != http.StatusRequestURITooLong {
		t.Error(a.Status)
	}
	if a := ask(t, h, "GET", "/v2/?x="+strings.Repeat("y", 8<<10)); a.StatusCode != 200 {
		t.Error(a.Status)
	}
}

// What handlers learn of who asks.
func TestTheIdentityIsInTheContext(t *testing.T) {
	t.Parallel()
	g := guard(t, access.Config{Users: htpasswd(t), Secret: file(t, theSecret)})
	h := g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := access.From(r.Context())
		_, _ = io.WriteString(w, i.Who())
		if i.MayPush() != i.Known() || i.MayUseCredentials() != i.Known() {
			t.Errorf("%+v may push, and is not known", i)
		}
	}))
	for want, fields := range map[string][]string{
		"(anybody)": nil,
		"alice":     {"Authorization", login("alice", "wonderland")},
		"(secret)":  {access.SecretHeader, theSecret},
	} {
		if a := ask(t, h, "GET", "/", fields...); a.body != want {
			t.Errorf("%q is %q", fields, a.body)
		}
	}
	if i := access.From(t.Context()); i.Known() || !i.MayPush() {
		t.Errorf("without a guard it is %+v", i)
	}
}
