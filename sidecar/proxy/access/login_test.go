package access_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/occystrap/occystrap/sidecar/proxy/access"
	"github.com/occystrap/occystrap/sidecar/proxy/route"
)

const (
	aRead    = "GET /v2/app/tags/list"
	aPush    = "POST /v2/app/blobs/uploads/"
	aDelete  = "DELETE /v2/app/manifests/1"
	aMirror  = "GET /v2/docker.io/library/alpine/manifests/1"
	aPrivate = "GET /v2/private.example/app/manifests/1"
	base     = "GET /v2/"
)

// does makes requests and compares who is let through: what is "not found" was.
func does(t *testing.T, h http.Handler, request string, let bool, fields ...string) {
	t.Helper()
	method, address, _ := strings.Cut(request, " ")
	a := ask(t, h, method, address, fields...)
	if got := a.StatusCode != http.StatusUnauthorized; got != let || a.StatusCode == http.StatusForbidden || a.StatusCode >= 500 {
		t.Errorf("%s with %q: %s %s, want it let through: %v", request, fields, a.Status, a.body, let)
	}
	if !let && (a.Header.Get("Www-Authenticate") == "" || !strings.Contains(a.body, `"UNAUTHORIZED"`)) {
		t.Errorf("%s: nobody learns how to log in: %v %s", request, a.Header, a.body)
	}
}

func privately(t route.Target) bool { return t.Upstream == "private.example" }

func TestWithoutSettingsLoopbackIsOpen(t *testing.T) {
	t.Parallel()
	h := registryBehind(t, guard(t, access.Config{Listen: tcp(t, "127.0.0.1:5050"), Credentialed: privately}))
	for _, request := range []string{base, aRead, aPush, aDelete, aMirror, aPrivate} {
		does(t, h, request, true)
		does(t, h, request, true, "Authorization", login("left", "over")) // what a client has stored for the port
	}
}

// The secret of the installation: reading is for all, but for what takes credentials.
func TestTheSecretIsForWritingAndCredentials(t *testing.T) {
	t.Parallel()
	h := registryBehind(t, guard(t, access.Config{Secret: file(t, theSecret+"\n"), Credentialed: privately}))
	for request, open := range map[string]bool{aRead: true, aMirror: true, aPush: false, aDelete: false, aPrivate: false, base: false} {
		does(t, h, request, open)
		does(t, h, request, true, access.SecretHeader, theSecret)
		does(t, h, request, true, "Authorization", login("any name", theSecret))
		does(t, h, request, true, "Authorization", "Bearer "+theSecret)
		does(t, h, request, false, access.SecretHeader, theSecret+" ")
		does(t, h, request, false, access.SecretHeader, "")
		does(t, h, request, false, access.SecretHeader, theSecret, access.SecretHeader, "another")
		does(t, h, request, false, "Authorization", login("any name", "wrong"))
		does(t, h, request, false, "Authorization", login(theSecret, ""))
		does(t, h, request, false, "Authorization", "Bearer wrong")
		does(t, h, request, false, "Authorization", "Digest "+theSecret)
		does(t, h, request, false, "Authorization", "Basic %%%")
		does(t, h, request, false, "Authorization", login("a", theSecret), "Authorization", login("b", "wrong"))
	}
	does(t, h, aRead, true, "Authorization", login("", "")) // podman's nobody
	does(t, h, aPush, false, "Authorization", login("", ""))
}

func TestWhereUsersAreListedNobodyElseIsServed(t *testing.T) {
	t.Parallel()
	digest := sha256.Sum256([]byte("another token, kept as its digest"))
	tokens := file(t, "# tokens\nci:"+theToken+"\n\nnode:sha256:"+hex.EncodeToString(digest[:])+"\n")
	h := registryBehind(t, guard(t, access.Config{Listen: tcp(t, "192.0.2.1:5050"), Users: htpasswd(t), Tokens: tokens, Secret: file(t, theSecret)}))
	for _, request := range []string{base, aRead, aPush, aDelete, aMirror, aPrivate} {
		does(t, h, request, false)
		for _, right := range []string{
			login("alice", "wonderland"), "Bearer " + theToken, "bearer another token, kept as its digest", login("whoever", theToken), login("whoever", theSecret),
		} {
			does(t, h, request, true, "Authorization", right)
		}
		for _, wrong := range []string{
			login("alice", "Wonderland"), login("alice", ""), login("bob", "wonderland"), login("", "wonderland"), login("", ""), login("bob", "nobody"),
			"Bearer " + hex.EncodeToString(digest[:]), "Bearer sha256:" + hex.EncodeToString(digest[:]), "Bearer", "Bearer " + strings.Repeat("x", 5000), "",
		} {
			does(t, h, request, false, "Authorization", wrong)
		}
	}
	if a := ask(t, h, "GET", "/v2/"); a.Header.Get("Www-Authenticate") != `Basic realm="occystrap"` {
		t.Errorf("%v", a.Header)
	}
}

func TestBeyondLoopbackSomebodyHasToLogIn(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"0.0.0.0:5050", "[::]:5050", "192.0.2.1:5050"} {
		c := access.Config{Listen: append(tcp(t, "127.0.0.1:5050"), tcp(t, at)...), Secret: file(t, theSecret)}
		if _, err := access.New(c); err == nil || !strings.Contains(err.Error(), at) {
			t.Errorf("%s: %v", at, err)
		}
		c.Users = htpasswd(t)
		guard(t, c)
	}
	guard(t, access.Config{Listen: append(tcp(t, "[::1]:5050"), tcp(t, "127.1.2.3:5050")...)})
}

// A token of /token is for what its login was for, and no longer.
func TestTokensAreGivenToWhoLogsIn(t *testing.T) {
	t.Parallel()
	now := time.Now()
	secret := file(t, theSecret)
	h := registryBehind(t, guard(t, access.Config{Secret: secret, Now: func() time.Time { return now }}))
	a := ask(t, h, "POST", "/v2/app/blobs/uploads/")
	if want := `Bearer realm="http://127.0.0.1:5050/token",service="occystrap",scope="repository:app:pull,push"`; a.Header.Get("Www-Authenticate") != want {
		t.Errorf("%v", a.Header)
	}
	token := func(fields ...string) string {
		a := ask(t, h, "GET", "/token?service=occystrap&scope=repository:app:pull,push", fields...)
		var got struct{ Token string }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Token == "" {
			t.Fatalf("%s %s", a.Status, a.body)
		}
		return "Bearer " + got.Token
	}
	nobody, known := token(), token("Authorization", login("x", theSecret))
	does(t, h, aRead, true, "Authorization", nobody)
	does(t, h, base, true, "Authorization", nobody)
	does(t, h, aPush, false, "Authorization", nobody)
	does(t, h, aPush, true, "Authorization", known)
	does(t, h, "GET /token", false, "Authorization", login("x", "wrong"))
	if a := ask(t, h, "GET", "/token", "Authorization", login("x", "wrong")); a.Header.Get("Www-Authenticate") != `Basic realm="occystrap"` {
		t.Errorf("%v", a.Header)
	}
	says, _, _ := strings.Cut(nobody, ".")
	_, signed, _ := strings.Cut(known, ".")
	for _, forged := range []string{known + "A", strings.Replace(known, ".", "A.", 1), known[:len(known)-4], says + "." + signed} {
		does(t, h, aPush, false, "Authorization", forged)
	}
	if a := ask(t, h, "POST", "/token"); a.StatusCode != http.StatusMethodNotAllowed {
		t.Error(a.Status)
	}
	other := registryBehind(t, guard(t, access.Config{Secret: secret}))
	does(t, other, aPush, false, "Authorization", known) // of another process
	must(t, os.WriteFile(secret, []byte("another secret that is long"), 0o600))
	now = now.Add(5 * time.Second)
	does(t, h, aPush, false, "Authorization", known)
	does(t, h, aPush, false, access.SecretHeader, theSecret)
	known = token("Authorization", login("x", "another secret that is long"))
	does(t, h, aPush, true, "Authorization", known)
	now = now.Add(time.Hour)
	does(t, h, aPush, false, "Authorization", known)
}

// What tells about the proxy is for who has logged in, or is here.
func TestWatchersAreHereOrLogIn(t *testing.T) {
	t.Parallel()
	g := guard(t, access.Config{Listen: tcp(t, "192.0.2.1:5050"), Users: htpasswd(t)})
	h := g.Wrap(g.Watch(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	far := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "192.0.2.9:1000"
		h.ServeHTTP(w, r)
	})
	does(t, h, "GET /metrics", true)
	does(t, far, "GET /metrics", false)
	does(t, far, "GET /metrics", true, "Authorization", login("alice", "wonderland"))
}
