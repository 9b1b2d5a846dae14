package remote

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/http/httpproxy"
)

// TestNameThatIsResolvedAnewGainsNothing has a name service that answers a public
// address first (127.0.0.1 stands for it) and then one inside (127.0.0.2).
func TestNameThatIsResolvedAnewGainsNothing(t *testing.T) {
	t.Parallel()
	var requests, asked atomic.Int32
	far := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer far.Close()
	inside := netip.MustParseAddr("127.0.0.2")
	answers := []netip.Addr{netip.MustParseAddr("127.0.0.1"), inside}
	g := &guard{
		allow: func(_ string, ip netip.Addr) bool { return ip != inside },
		proxy: (&httpproxy.Config{}).ProxyFunc(),
		names: nameService(t, func() netip.Addr { return answers[min(int(asked.Add(1))-1, 1)] }),
	}
	g.next = &http.Transport{Proxy: g.proxyOf, DialContext: g.dial, DisableKeepAlives: true}
	_, port, err := net.SplitHostPort(far.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, errAddress} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://rebind.example:"+port+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("request %d: error is %v, want %v", i+1, err, want)
		}
	}
	if requests.Load() != 1 || asked.Load() != 2 {
		t.Errorf("%d requests came through after %d questions, want 1 after 2", requests.Load(), asked.Load())
	}
}

// nameService answers each question for an IPv4 address with the next one.
func nameService(t *testing.T, next func() netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 0},
					Body:   &dnsmessage.AResource{A: next().As4()},
				}}
			}
			if raw, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(raw, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}
