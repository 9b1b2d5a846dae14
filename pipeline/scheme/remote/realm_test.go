package remote_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
)

// direct answers requests for any host from handlers, by host.
type direct map[string]http.Handler

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	h, ok := d[r.URL.Host]
	if !ok {
		return nil, fmt.Errorf("no route to %s", r.URL.Host)
	}
	w := httptest.NewRecorder()
	if r.Body != nil {
		defer r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	h.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func TestLoginGoesOnlyToARealmOfTheRegistry(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		host, realm, options string
		sent                 bool
		want                 string
	}{
		"the same host":           {"registry.example", "https://registry.example/token", "", true, ""},
		"the same domain":         {"registry.gitlab.com", "https://gitlab.com/jwt/auth", "", true, ""},
		"Docker Hub's pair":       {"docker.io", "https://auth.docker.io/token", "", true, ""},
		"another port":            {"registry.example:5000", "https://registry.example/token", "", true, ""},
		"a strange host":          {"registry.example", "https://evil.test/token", "", false, "?realm=evil.test"},
		"a neighbour at a suffix": {"a.github.io", "https://b.github.io/token", "", false, "?realm=b.github.io"},
		"a longer name":           {"registry.example", "https://registry.example.evil.test/token", "", false, "?realm="},
		"addresses are no domain": {"10.0.0.1", "https://192.0.0.1/token", "", false, "?realm=192.0.0.1"},
		"a host that was named":   {"registry.redhat.io", "https://sso.redhat.com/token", "?realm=sso.redhat.com", true, ""},
		"plain HTTP":              {"registry.example", "http://registry.example/token", "", false, "not HTTPS"},
		"no address":              {"registry.example", "file:///etc/passwd", "", false, "no address"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := sample(t, pipeline.Gzip)
			realm, err := url.Parse(test.realm)
			if err != nil {
				t.Fatal(err)
			}
			sent := false
			token := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				user, _, _ := r.BasicAuth()
				sent = sent || user == "bob"
				_, _ = io.WriteString(w, `{"token":"good"}`)
			})
			reg := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == realm.Path {
					token.ServeHTTP(w, r)
					return
				}
				if r.Header.Get("Authorization") == "Bearer good" {
					s.ServeHTTP(w, r)
					return
				}
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+test.realm+`"`)
				w.WriteHeader(http.StatusUnauthorized)
			})
			cfg := quick()
			api := strings.Replace(test.host, "docker.io", "registry-1.docker.io", 1)
			cfg.Transport = direct{realm.Host: token, api: reg}
			cfg.Source = credential.Static("bob", "s3cret")
			_, _, err = pull(t, cfg, "registry://"+test.host+"/team/app:1"+test.options, onAMD64())
			if test.want != "" {
				wantError(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
			if sent != test.sent {
				t.Errorf("login sent: %v, want %v", sent, test.sent)
			}
		})
	}
}

func TestAnonymousTokenMayComeFromAnywhere(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	cfg := quick()
	cfg.Transport = direct{
		"tokens.test": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"good"}`) }),
		"registry.example": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "Bearer good" {
				s.ServeHTTP(w, r)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://tokens.test/"`)
			w.WriteHeader(http.StatusUnauthorized)
		}),
	}
	if _, _, err := pull(t, cfg, "registry://registry.example/team/app:1", onAMD64()); err != nil {
		t.Error(err)
	}
}

func TestRedirectsCarryNoLogin(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	cdn := serve(t, s, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "" {
			return false
		}
		w.WriteHeader(http.StatusBadRequest)
		return true
	})
	far := serve(t, s, func(w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, cdn.URL+r.URL.Path+"?signature=abc", http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	cfg := quick()
	cfg.Source = credential.Static("bob", "s3cret")
	if _, _, err := pull(t, cfg, "registry://"+far.host()+"/team/app:1", onAMD64()); err != nil {
		t.Fatal(err)
	}
	if n := len(cdn.requests("GET")); n != 3 {
		t.Errorf("%d blobs came by redirect, want 3", n)
	}
}

func TestRedirectTargetCannotAskForALogin(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	evil := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	far := serve(t, s, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, evil.URL+r.URL.Path, http.StatusFound)
			return true
		}
		return false
	})
	cfg := quick()
	cfg.Source = credential.Static("bob", "s3cret")
	_, _, err := pull(t, cfg, "registry://"+far.host()+"/team/app:1", onAMD64())
	wantError(t, err, "401")
	if n := len(evil.requests("/token")); n != 0 {
		t.Errorf("its token server was asked %d times", n)
	}
}

func TestSecretsAreInNoEventAndNoError(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	d := newDoor(t, s, &door{user: "bob:s3cret"})
	var mu sync.Mutex
	var lines []string
	cfg := quick()
	cfg.Events = func(e pipeline.Event) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, e.Message)
	}
	if _, _, err := pull(t, cfg, d.uri()+"?username=bob&password=s3cret", onAMD64()); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(lines, "\n")
	if !strings.Contains(all, "manifests/1: 200") {
		t.Errorf("the details tell of no request: %q", all)
	}
	for _, secret := range []string{"s3cret", "t1", base64.StdEncoding.EncodeToString([]byte("bob:s3cret")), "Bearer"} {
		if strings.Contains(all, secret) {
			t.Errorf("the details hold %q", secret)
		}
	}
}
