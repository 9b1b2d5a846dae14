package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// A transport is the connections of one end.
type transport struct {
	http.RoundTripper
	close func()
}

const (
	// A layer moves in large pieces: with net/http's 4 KiB a gigabyte costs a
	// quarter of a million system calls.
	connBuffer = 128 << 10
	// maxHeader bounds an answer's header, which is held in memory.
	maxHeader = 256 << 10
	// idleConns is more than the layers that are in flight by default.
	idleConns   = 16
	idleTime    = 90 * time.Second
	dialTime    = 30 * time.Second
	keepAlive   = 30 * time.Second
	handshaking = 30 * time.Second
)

// newTransport makes the connections that a configuration asks for. It speaks
// HTTP/1.1 only: each layer in flight has a TCP connection, and a congestion
// window, of its own, where HTTP/2 would put them all into one.
func newTransport(cfg Config) (transport, error) {
	if cfg.Transport != nil {
		return transport{cfg.Transport, func() {}}, nil
	}
	roots, err := trusted(cfg)
	if err != nil {
		return transport{}, err
	}
	guard := &guard{allow: cfg.Allow, proxy: httpproxy.FromEnvironment().ProxyFunc()}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy:                  guard.proxyOf,
		DialContext:            guard.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, InsecureSkipVerify: cfg.SkipVerify}, //nolint:gosec // asked for by skip_verify
		TLSHandshakeTimeout:    handshaking,
		MaxIdleConns:           idleConns * 2,
		MaxIdleConnsPerHost:    idleConns,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: maxHeader,
		ReadBufferSize:         connBuffer,
		WriteBufferSize:        connBuffer,
		Protocols:              &protocols,
		// A layer's digest is that of its compressed bytes: no decoding on the way.
		DisableCompression: true,
	}
	guard.next = t
	if cfg.Around != nil {
		return transport{cfg.Around(guard), t.CloseIdleConnections}, nil
	}
	return transport{guard, t.CloseIdleConnections}, nil
}

// trusted is the system's pool with what the configuration and the variables
// that other tools honour add to it. Nil is the system's as it is.
func trusted(cfg Config) (*x509.CertPool, error) {
	var extra [][]byte
	for _, key := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} {
		if path := os.Getenv(key); path != "" {
			pem, err := os.ReadFile(path)
			if err != nil {
				cfg.Events.Detail(fmt.Sprintf("%s is passed over: %v", key, err))
				continue
			}
			extra = append(extra, pem)
		}
	}
	if cfg.CA != "" {
		pem, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("read certificate authorities: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificate authorities: %s holds no PEM certificate", cfg.CA)
		}
		extra = append(extra, pem)
	}
	if extra == nil {
		return nil, nil //nolint:nilnil // nil is the system's pool
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // a system without any: then these alone
		pool = x509.NewCertPool()
	}
	for _, pem := range extra {
		pool.AppendCertsFromPEM(pem)
	}
	return pool, nil
}

// pause waits, or returns early with the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
