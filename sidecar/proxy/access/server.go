package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// headerTime is how long a client may take for the head of a request, and for the
	// handshake of TLS before.
	headerTime = 10 * time.Second
	// idleTime is longer than clients keep connections that they do not use (Go: 90 s).
	idleTime = 2 * time.Minute
	// maxHeader is far above what clients send; tokens are the longest of it.
	maxHeader = 64 << 10
)

// Server is the http.Server for what a Guard wraps: with limits for heads of requests
// and time-outs for slow clients. Bodies have no time-out here, since they may be as
// long as a layer; registry.Handler sees to it that they move.
func (g *Guard) Server(h http.Handler) *http.Server {
	var one http.Protocols
	one.SetHTTP1(true) // a connection for each blob is what moves them fastest
	return &http.Server{
		Handler:           h,
		ConnContext:       g.ConnContext,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		Protocols:         &one,
		ErrorLog:          log.New(lineLog{g.c.Log}, "", 0), //nolint:forbidigo // it passes lines on
	}
}

// lineLog takes what net/http has to say about connections.
type lineLog struct{ log *slog.Logger }

func (l lineLog) Write(p []byte) (int, error) {
	level := slog.LevelDebug // strangers cause most of it
	if strings.HasPrefix(string(p), "http: panic") {
		level = slog.LevelError
	}
	l.log.LogAttrs(context.Background(), level, "http", slog.String("said", string(p)))
	return len(p), nil
}

// Listener talks TLS at a listener, with the certificate of these files: of the time of the
// handshake, give or take a second. Errors are sentences for who wrote the settings.
func (g *Guard) Listener(l net.Listener, cert, key string) (net.Listener, error) {
	c, err := g.TLS(cert, key)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, c), nil
}

// outOfDate warns of a certificate that clients do not take now.
func (g *Guard) outOfDate(leaf *x509.Certificate, name string) {
	if now := g.c.Now(); leaf != nil && (now.After(leaf.NotAfter) || now.Before(leaf.NotBefore)) {
		g.c.Log.Warn("clients refuse the certificate: it is out of date", "file", name, "from", leaf.NotBefore, "until", leaf.NotAfter)
	}
}

// TLS is the configuration with a certificate and key from PEM files, which are read again
// when they have changed. While they do not fit each other, those before are used.
func (g *Guard) TLS(cert, key string) (*tls.Config, error) {
	failed := func(err error) { g.c.Log.Error("the certificate stays as it was", "error", err) }
	w, err := watch(g.c.Now, failed, func(raw [][]byte) (*tls.Certificate, error) {
		c, err := tls.X509KeyPair(raw[0], raw[1])
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", cert, key, err)
		}
		g.outOfDate(c.Leaf, cert)
		return &c, nil
	}, cert, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return w.get(), nil },
	}, nil
}
