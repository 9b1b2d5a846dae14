package proxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/sidecar/proxy"
)

// certificate writes a certificate for 127.0.0.1 and its key, and returns who trusts it.
func certificate(t testing.TB, dir string) (cert, key string, trust *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	is := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, is, is, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, trust = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: raw}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	trust.AddCert(parsed)
	return cert, key, trust
}

// Who speaks TLS is served by it, and by nothing else.
func TestTheProxySpeaksTLS(t *testing.T) {
	t.Parallel()
	var c proxy.Config
	var trust *x509.CertPool
	c.Access.Cert, c.Access.Key, trust = certificate(t, t.TempDir())
	p := run(t, c)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}
	defer transport.CloseIdleConnections()
	ask := func(scheme string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, scheme+"://"+p.address+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		return transport.RoundTrip(r)
	}
	resp, err := ask("https")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Body.Close() != nil || resp.StatusCode != http.StatusOK || resp.TLS.Version < tls.VersionTLS12 {
		t.Errorf("status %d by TLS %x: %v", resp.StatusCode, resp.TLS.Version, err)
	}
	resp, err = ask("http")
	if err != nil {
		return // it hung up
	}
	defer resp.Body.Close()
	if resp.StatusCode < http.StatusBadRequest || strings.Contains(resp.Header.Get("Content-Type"), "registry") {
		t.Errorf("plain HTTP is answered with status %d", resp.StatusCode)
	}
}

// What is wrong but no reason not to start is told at the start.
func TestDoubtfulSettingsAreTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokens, []byte("ci:0123456789abcdef0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	p, err := proxy.New(t.Context(), proxy.Config{
		Store:     proxy.StoreConfig{Dir: filepath.Join(dir, "store")},
		Access:    proxy.Access{Tokens: tokens},
		Listening: []net.Addr{&net.TCPAddr{IP: net.IPv4zero, Port: 5050}},
		Upstreams: []proxy.Upstream{{Remote: proxy.Remote{Host: "registry.example", Keys: credential.File(filepath.Join(dir, "none"))}}},
		Log:       slog.New(slog.NewTextHandler(&out, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"without TLS: set [proxy.tls]", "a login cannot be read", "host=registry.example"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
}
