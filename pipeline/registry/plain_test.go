package registry_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// Who tries TLS first learns at once that there is none; HTTP is served.
func TestPlainListenerAnswersTLSAtOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(registry.Plain(l)) // ends with Close
	}()
	defer func() { _ = server.Close(); <-served }()
	_, err = tls.Dial("tcp4", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	var plain tls.RecordHeaderError
	if !errors.As(err, &plain) || !strings.HasPrefix(string(plain.RecordHeader[:]), "HTTP/") {
		t.Errorf("TLS to a plain port: %v", err) // what net/http and Docker look for
	}
	resp, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "served" {
		t.Errorf("HTTP: %q, %v", got, err)
	}
}
