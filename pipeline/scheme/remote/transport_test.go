package remote_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
)

// authority writes a test server's certificate as a PEM file.
func authority(t *testing.T, f *far) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrivateAuthorityIsTrustedWhenNamed(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	far := serveTLS(t, s)
	uri := "registry://" + far.host() + "/team/app:1"
	for name, option := range map[string]string{"ca": "?ca=" + authority(t, far), "skip_verify": "?skip_verify=true"} {
		if _, _, err := pull(t, quick(), uri+option, onAMD64()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err := pull(t, quick(), uri, onAMD64())
	wantError(t, err, "certificate", "?ca=FILE", "?skip_verify=true")
}

func TestAuthorityFromEnvironment(t *testing.T) {
	s, _ := sample(t, pipeline.Gzip)
	far := serveTLS(t, s)
	for _, key := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} {
		t.Run(key, func(t *testing.T) {
			t.Setenv(key, authority(t, far))
			if _, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1", onAMD64()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBadAuthorityFileIsAnError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := schemes(quick()).Source("registry://registry.example/app:1?ca=" + path)
	wantError(t, err, "no PEM certificate")
}

func TestInsecureIsPlainHTTP(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	insecure := quick()
	insecure.Insecure = true
	insecure.Transport = direct{"registry.example": plainOnly(s)}
	if _, _, err := pull(t, insecure, "registry://registry.example/team/app:1", onAMD64()); err != nil {
		t.Errorf("by configuration: %v", err)
	}
	byURI := quick()
	byURI.Transport = direct{"registry.example": plainOnly(s)}
	if _, _, err := pull(t, byURI, "registry://registry.example/team/app:1?insecure=true", onAMD64()); err != nil {
		t.Errorf("by URI: %v", err)
	}
	if _, _, err := pull(t, insecure, "registry://registry.example/team/app:1?insecure=false", onAMD64()); err == nil {
		t.Error("insecure=false in the URI does not win")
	}
}

// plainOnly refuses HTTPS.
func plainOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Scheme != "http" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func TestLoopbackFallsBackToPlainHTTP(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	far := serve(t, s)
	_, port, _ := strings.Cut(far.host(), ":")
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if _, _, err := pull(t, quick(), "registry://"+host+":"+port+"/team/app:1", onAMD64()); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestProxyOfTheEnvironmentIsUsed(t *testing.T) {
	s, _ := sample(t, pipeline.Gzip)
	far := serve(t, s)
	t.Setenv("HTTP_PROXY", far.URL)
	t.Setenv("NO_PROXY", "direct.invalid")
	if _, _, err := pull(t, quick(), "registry://registry.invalid/team/app:1?insecure=true", onAMD64()); err != nil {
		t.Error(err)
	}
	if r := far.requests("manifests"); len(r) == 0 || r[0].Host != "registry.invalid" {
		t.Errorf("the proxy saw %v", r)
	}
	cfg := quick()
	cfg.Retries = -1
	if _, _, err := pull(t, cfg, "registry://direct.invalid/team/app:1?insecure=true", onAMD64()); err == nil {
		t.Error("a host of NO_PROXY went through the proxy")
	}
}

func TestPlainHTTPServerNamesTheRemedy(t *testing.T) {
	s, _ := sample(t, pipeline.Gzip)
	far := serve(t, s)
	// A proxy that takes every tunnel to the plain server stands in for a host
	// that is not loopback.
	proxy := httptest.NewServer(tunnel(far.host()))
	defer proxy.Close()
	t.Setenv("HTTPS_PROXY", proxy.URL)
	_, _, err := pull(t, quick(), "registry://registry.invalid/team/app:1", onAMD64())
	wantError(t, err, "registry.invalid answers in plain HTTP", "?insecure=true")
}
