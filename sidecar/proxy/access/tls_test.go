package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/occystrap/occystrap/sidecar/proxy/access"
)

// pair is a certificate for 127.0.0.1 and its key, in PEM.
func pair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	must(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// A certificate is renewed while the proxy runs; a pair that does not fit leaves the old
// one in use.
func TestTheCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	put := func(cert, key []byte) {
		t.Helper()
		must(t, os.WriteFile(certFile, cert, 0o600))
		must(t, os.WriteFile(keyFile, key, 0o600))
	}
	cert1, key1 := pair(t, 1)
	cert2, key2 := pair(t, 2)
	put(cert1, key1)
	now := time.Now()
	g := guard(t, access.Config{Now: func() time.Time { return now }})
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l, err := g.Listener(raw, certFile, keyFile)
	must(t, err)
	s := g.Server(registryBehind(t, g))
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	serial := func(c *tls.Config) int64 {
		t.Helper()
		conn, err := tls.Dial("tcp", raw.Addr().String(), c)
		must(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
		must(t, err)
		b := make([]byte, 12)
		if _, err := conn.Read(b); err != nil || string(b) != "HTTP/1.1 200" {
			t.Errorf("%q, %v", b, err)
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	trusting := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}
	for _, step := range []struct {
		cert, key []byte
		want      int64
	}{{cert1, key1, 1}, {cert2, key1, 1}, {cert2, key2, 2}, {[]byte("x"), key2, 2}, {cert1, key1, 1}} {
		put(step.cert, step.key)
		now = now.Add(5 * time.Second)
		if got := serial(trusting); got != step.want {
			t.Errorf("certificate %d, want %d", got, step.want)
		}
	}
	if c, err := tls.Dial("tcp", raw.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		c.Close()
		t.Error("TLS 1.1 is spoken")
	}
}

func TestAPairThatDoesNotFitIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, _ := pair(t, 1)
	_, key := pair(t, 2)
	c, k := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	must(t, os.WriteFile(c, cert, 0o600))
	must(t, os.WriteFile(k, key, 0o600))
	g := guard(t, access.Config{})
	if _, err := g.TLS(c, k); err == nil || !strings.Contains(err.Error(), "certificate "+c+" with key "+k+": ") {
		t.Error(err)
	}
	if _, err := g.TLS(c, filepath.Join(dir, "none")); err == nil {
		t.Error("a key that is not there")
	}
}

// A certificate that no client takes is told, for who has to renew it.
func TestACertificateThatIsOutOfDateIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := pair(t, 1)
	c, k := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	must(t, os.WriteFile(c, cert, 0o600))
	must(t, os.WriteFile(k, key, 0o600))
	for later, want := range map[time.Duration]bool{0: false, 2 * time.Hour: true} {
		var out strings.Builder
		g := guard(t, access.Config{Log: slog.New(slog.NewTextHandler(&out, nil)), Now: func() time.Time { return time.Now().Add(later) }})
		_, err := g.TLS(c, k)
		must(t, err)
		if got := strings.Contains(out.String(), "out of date"); got != want {
			t.Errorf("%s later: %q", later, out.String())
		}
	}
}
