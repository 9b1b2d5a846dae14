package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// A selfConn is the proxy's own connection to itself: who has one is let in.
type selfConn struct{ net.Conn }

// itself marks requests that came over a selfConn.
type itself struct{}

// connContext marks the proxy's own connections, and tells the guard of all others.
func (p *Proxy) connContext(ctx context.Context, c net.Conn) context.Context {
	for bare := c; ; {
		if _, own := bare.(selfConn); own {
			return context.WithValue(ctx, itself{}, true)
		}
		around, ok := bare.(interface{ NetConn() net.Conn })
		if !ok {
			return p.current().guard.ConnContext(ctx, c)
		}
		bare = around.NetConn()
	}
}

// isItself says whether the proxy asks itself.
func isItself(r *http.Request) bool { return r.Context().Value(itself{}) != nil }

// askedFor is a manifest that no repository has: to look for it is to ask the store.
const askedFor = "/v2/occystrap/itself/manifests/sha256:0000000000000000000000000000000000000000000000000000000000000000"

// Ask finds out whether requests are answered, by way of the listener, the HTTP server, the
// handler and the store: it asks for /v2/ and for a manifest that is not there. No other
// registry is asked: that one of them fails is no reason to start the proxy anew.
// Visit hands a connection to a listener that Serve serves, and says whether it
// was taken.
func (p *Proxy) Ask(ctx context.Context, visit func(context.Context, net.Conn) bool) error {
	ours, theirs := net.Pipe()
	defer ours.Close()
	if !visit(ctx, selfConn{theirs}) {
		return errors.Join(errors.New("nobody is let in"), theirs.Close())
	}
	defer context.AfterFunc(ctx, func() { _ = ours.SetDeadline(time.Unix(1, 0)) })() // the past
	conn := ours
	if p.current().tls != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is a pipe to itself
	}
	in := bufio.NewReader(conn)
	for path, want := range map[string]int{"/v2/": http.StatusOK, askedFor: http.StatusNotFound} {
		r, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://127.0.0.1"+path, nil)
		if err != nil {
			return err
		}
		if err := r.Write(conn); err != nil {
			return fmt.Errorf("ask itself for %s: %w", path, err)
		}
		resp, err := http.ReadResponse(in, r)
		if err != nil {
			return fmt.Errorf("wait for its own answer to %s: %w", path, err)
		}
		_ = resp.Body.Close() // HEAD has none
		if resp.StatusCode != want {
			return fmt.Errorf("its own answer to %s is status %d and should be %d", path, resp.StatusCode, want)
		}
	}
	return nil
}
