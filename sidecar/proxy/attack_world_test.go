package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/sidecar/proxy"
	"github.com/occystrap/occystrap/sidecar/proxy/access"
	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
)

// attackPatience is for machines that are busy with something else.
const attackPatience = 2 * time.Minute

// besieged is a whole proxy at an address of its own.
type besieged struct {
	*proxytest.Client
	address string
}

// besiege starts a proxy with a store in a temporary folder.
func besiege(t *testing.T, c proxy.Config) besieged {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Store.Dir, c.Listening = filepath.Join(t.TempDir(), "store"), []net.Addr{l.Addr()}
	p, err := proxy.New(t.Context(), c)
	if err != nil {
		t.Fatal(errors.Join(err, l.Close()))
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- p.Serve(ctx, l) }()
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = l.Close()
		cancel()
		<-ended //nolint:errcheck // requests that were cut are no fault
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	b := besieged{address: l.Addr().String()}
	b.Client = &proxytest.Client{Base: "http://" + b.address, HTTP: &http.Client{Transport: transport}}
	return b
}

// mirror is an upstream at a registry of the test, which has to be named by its address.
func mirror(name string, r *proxytest.Registry) proxy.Upstream {
	return proxy.Upstream{Remote: proxy.Remote{Host: name, Address: r.Host, Insecure: true}}
}

// credentialed is a mirror that is read with a login.
func credentialed(name string, r *proxytest.Registry) proxy.Upstream {
	u := mirror(name, r)
	u.Keys = credential.Static("robot", "the password of the proxy")
	return u
}

// gets makes a request and compares status and code.
func (b besieged) gets(t *testing.T, status int, code, method, path string, fields ...string) proxytest.Answer {
	t.Helper()
	a, err := b.Do(t.Context(), method, path, nil, fields...)
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != status || code != "" && a.Code() != code {
		t.Errorf("%s %s with %q: %d %s, want %d %s", method, path, fields, a.Status, a.Body, status, code)
	}
	return a
}

// says writes bytes and reads what comes until the connection ends.
func (b besieged) says(t *testing.T, bytes string) string {
	t.Helper()
	c, err := net.Dial("tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(attackPatience))
	if _, err := io.WriteString(c, bytes); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(bytes, "Connection: close") {
		_ = c.(*net.TCPConn).CloseWrite() // the server waits for no more, and gives up what still takes time
	}
	raw, _ := io.ReadAll(bufio.NewReader(c)) // a reset ends it too
	return string(raw)
}

// secretFile is the secret of an installation, in a file.
func secretFile(t *testing.T) (name, secret string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "secret")
	if err := access.EnsureSecret(name); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return name, strings.TrimSpace(string(raw))
}

// lateLogin is a store of logins that has one only later.
type lateLogin struct{ there, asked atomic.Bool }

func (l *lateLogin) Lookup(context.Context, string) (credential.Credential, bool, error) {
	if !l.there.Load() {
		return credential.Credential{}, false, nil
	}
	l.asked.Store(true)
	return credential.Credential{Username: "robot", Secret: "hush"}, true, nil
}
