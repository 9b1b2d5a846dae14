package proxy_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/pipelinetest"
	"github.com/occystrap/occystrap/sidecar/proxy"
	"github.com/occystrap/occystrap/sidecar/proxy/access"
	"github.com/occystrap/occystrap/sidecar/proxy/proxytest"
)

// Attacks on the whole proxy: each is refused, and what it was after is as before. That
// the way is open for who does not attack is looked at with each.

func TestAPageWithARebornNameIsRefused(t *testing.T) {
	t.Parallel()
	b := besiege(t, proxy.Config{Access: proxy.Access{Hosts: []string{"proxy.example"}}})
	for host, want := range map[string]int{"evil.example": 421, "evil.example:5050": 421, "127.0.0.1.evil.example": 421, "proxy.example": 202, b.address: 202} {
		answer := b.says(t, "POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", want)) {
			t.Errorf("%s: want %d:\n%s", host, want, answer)
		}
	}
}

func TestAPageOfAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	b := besiege(t, proxy.Config{})
	for _, fields := range [][]string{{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
		for _, path := range []string{"/v2/app/blobs/uploads/", "/metrics", "/status"} {
			a := b.gets(t, 403, "DENIED", "POST", path, fields...)
			for name := range a.Header {
				if strings.HasPrefix(name, "Access-Control-") || name == "Location" {
					t.Errorf("a page is told %s: %s", name, a.Header.Get(name))
				}
			}
		}
	}
	b.gets(t, 202, "", "POST", "/v2/app/blobs/uploads/")
}

func TestASmuggledRequestIsNotSeen(t *testing.T) {
	t.Parallel()
	b := besiege(t, proxy.Config{})
	blob := "smuggled"
	hidden := "POST /v2/app/blobs/uploads/?digest=" + digest.FromString(blob).String() + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 8\r\n\r\n" + blob
	for _, head := range []string{
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"Content-Length: 0\r\nContent-Length: 1\r\n\r\n", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n",
	} {
		answer := b.says(t, "POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"+head+hidden)
		if n := strings.Count(answer, "HTTP/1.1 "); n != 1 {
			t.Errorf("%q has %d answers:\n%s", head, n, answer)
		}
	}
	b.gets(t, 404, "", "HEAD", "/v2/app/blobs/"+digest.FromString(blob).String())
	if answer := b.says(t, hidden); !strings.HasPrefix(answer, "HTTP/1.1 201 ") {
		t.Errorf("alone it is not answered either:\n%s", answer)
	}
}

// alike are two registries with the same image, app:1.
func alike(t *testing.T) (one, other *proxytest.Registry, root ocispec.Descriptor) {
	t.Helper()
	one, other = proxytest.NewRegistry(t), proxytest.NewRegistry(t)
	s := pipelinetest.NewStore()
	root = proxytest.Images(t, s, 1, 1)[0]
	one.Push(t, "app", s, root, "1")
	other.Push(t, "app", s, root, "1")
	return one, other, root
}

// leads has a registry send everybody elsewhere.
func leads(r *proxytest.Registry, to string) {
	r.Break(func(w http.ResponseWriter, q *http.Request, _ http.Handler) {
		http.Redirect(w, q, "http://"+to+q.URL.Path, http.StatusTemporaryRedirect)
	})
}

// SSRF: the proxy is made to ask what only it can reach.
func TestOnlyConfiguredRegistriesAreAsked(t *testing.T) {
	t.Parallel()
	inside, upstream, root := alike(t)
	b := besiege(t, proxy.Config{Upstreams: []proxy.Upstream{mirror("registry.example", upstream)}})
	for _, ns := range []string{inside.Host, byName(inside), "169.254.169.254", "[::1]:80", "metadata.internal"} {
		b.gets(t, 404, "NAME_UNKNOWN", "GET", "/v2/app/manifests/1?ns="+url.QueryEscape(ns))
	}
	b.gets(t, 400, "NAME_INVALID", "GET", "/v2/app/manifests/1?ns=registry.example&ns="+inside.Host)
	b.gets(t, 400, "NAME_INVALID", "GET", "/v2/app/manifests/1?ns=registry.example@"+inside.Host)
	b.gets(t, 404, "NAME_UNKNOWN", "GET", "/v2/localhost/app/manifests/1")
	if n := len(inside.AllAsked()) + len(upstream.AllAsked()); n != 0 {
		t.Errorf("%v and %v were asked", inside.AllAsked(), upstream.AllAsked())
	}
	if got, err := b.Pull(t.Context(), "app", "1", "ns=registry.example"); err != nil || got != root.Digest {
		t.Errorf("%s, %v", got, err)
	}
}

// A configured registry sends the proxy elsewhere: to an address that is not of the internet.
func TestNoRedirectLeadsInside(t *testing.T) {
	t.Parallel()
	inside, upstream, root := alike(t)
	b := besiege(t, proxy.Config{Upstreams: []proxy.Upstream{credentialed("registry.example", upstream)}})
	for _, to := range []string{inside.Host, byName(inside), "169.254.169.254", "[::ffff:169.254.169.254]"} {
		leads(upstream, to)
		a := b.gets(t, 502, "", "GET", "/v2/app/blobs/"+root.Digest.String()+"?ns=registry.example")
		if a.Code() == "" {
			t.Errorf("no error of the specification: %s", a.Body)
		}
	}
	if n := inside.AllAsked(); len(n) != 0 {
		t.Errorf("inside was asked %v", n)
	}
	upstream.Break(nil)
	if got, err := b.Pull(t.Context(), "app", "1", "ns=registry.example"); err != nil || got != root.Digest {
		t.Errorf("%s, %v", got, err)
	}
}

// A registry of a private network may lead to others of it, and not to what clouds tell a
// machine alone.
func TestNoRedirectOfAPrivateRegistryLeadsToALink(t *testing.T) {
	t.Parallel()
	other, upstream, root := alike(t)
	var log pipelinetest.Journal
	b := besiege(t, proxy.Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Upstreams: []proxy.Upstream{{Remote: proxy.Remote{Host: "registry.corp", Address: upstream.Host, Insecure: true, Private: true}}}})
	for _, to := range []string{"169.254.169.254", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"} {
		leads(upstream, to)
		b.gets(t, 502, "", "GET", "/v2/app/blobs/"+root.Digest.String()+"?ns=registry.corp")
		if !strings.Contains(log.String(), "its address is not public") {
			t.Errorf("%s: why is not told: %s", to, &log)
		}
	}
	leads(upstream, other.Host)
	if got, err := b.Pull(t.Context(), "app", "1", "ns=registry.corp"); err != nil || got != root.Digest {
		t.Errorf("%s, %v", got, err)
	}
}

// A hostile realm: a registry asks for the proxy's password on behalf of another host.
func TestAHostileRealmLearnsNothing(t *testing.T) {
	t.Parallel()
	thief, upstream := proxytest.NewRegistry(t), proxytest.NewRegistry(t)
	b := besiege(t, proxy.Config{Upstreams: []proxy.Upstream{credentialed("registry.example", upstream)}})
	for _, realm := range []string{"http://" + thief.Host + "/token", "http://" + byName(thief) + "/token", "http://169.254.169.254/token", "http://" + upstream.Host + "@" + thief.Host + "/token"} {
		upstream.Break(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
		a, err := b.Do(t.Context(), "GET", "/v2/app/manifests/1?ns=registry.example", nil)
		if err != nil || a.Status < 400 || a.Code() == "" || strings.Contains(string(a.Body), "the password") {
			t.Errorf("%s: %d %s, %v", realm, a.Status, a.Body, err)
		}
	}
	if n := thief.AllAsked(); len(n) != 0 {
		t.Errorf("the thief was asked %v", n)
	}
}

// A push that shadows a mirrored name.
func TestNoPushAnswersForAMirror(t *testing.T) {
	t.Parallel()
	upstream := proxytest.NewRegistry(t)
	s := pipelinetest.NewStore()
	images := proxytest.Images(t, s, 3, 2)
	good, evil := images[0], images[1]
	upstream.Push(t, "library/app", s, good, "1")
	hub := mirror("docker.io", upstream)
	hub.Local, hub.Rewrite = "hub", "library"
	b := besiege(t, proxy.Config{Upstreams: []proxy.Upstream{hub}, Upstream: "docker.io"})
	for _, repository := range []string{"library/app", "app"} {
		if _, err := b.Push(t.Context(), repository, s, evil, "1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/v2/docker.io/library/app/", "/v2/index.docker.io/app/", "/v2/hub/app/", "/v2/localhost/app/"} {
		b.gets(t, 403, "DENIED", "POST", path+"blobs/uploads/")
		b.gets(t, 403, "DENIED", "PUT", path+"manifests/1", "Content-Type", evil.MediaType)
		b.gets(t, 403, "DENIED", "DELETE", path+"manifests/1")
	}
	b.gets(t, 403, "DENIED", "PUT", "/v2/library/app/manifests/1?ns=docker.io", "Content-Type", evil.MediaType)
	for name, query := range map[string]string{"docker.io/library/app": "", "index.docker.io/app": "", "hub/app": "", "library/app": "ns=docker.io", "app": "ns=registry-1.docker.io"} {
		if got, err := b.Pull(t.Context(), name, "1", query); err != nil || got != good.Digest {
			t.Errorf("%s?%s is %s, %v", name, query, got, err)
		}
		if query == "" {
			query = "x=1"
		}
		b.gets(t, 404, "", "GET", "/v2/"+name+"/manifests/"+evil.Digest.String()+"?"+query)
	}
	if got, err := b.Pull(t.Context(), "library/app", "1", ""); err != nil || got != evil.Digest {
		t.Errorf("what was pushed is %s, %v", got, err)
	}
}

// Somebody else on the machine borrows credentials: without the secret he gets neither what is read
// with them, also from the store, nor what is kept downstream.
func TestNobodyBorrowsCredentials(t *testing.T) {
	t.Parallel()
	private, open := proxytest.NewRegistry(t), proxytest.NewRegistry(t)
	s := pipelinetest.NewStore()
	root := proxytest.Images(t, s, 4, 1)[0]
	private.Push(t, "app", s, root, "1")
	open.Push(t, "other", s, root, "1") // the same blobs, for all
	file, secret := secretFile(t)
	b := besiege(t, proxy.Config{
		Upstreams: []proxy.Upstream{credentialed("private.example", private), mirror("open.example", open)}, Access: proxy.Access{Secret: file},
	})
	refused := func() {
		t.Helper()
		for _, what := range []string{"manifests/1", "manifests/" + root.Digest.String(), "tags/list", "blobs/" + root.Digest.String()} {
			b.gets(t, 401, "UNAUTHORIZED", "GET", "/v2/app/"+what+"?ns=private.example")
			b.gets(t, 401, "UNAUTHORIZED", "GET", "/v2/private.example/app/"+what)
		}
		b.gets(t, 401, "UNAUTHORIZED", "GET", "/v2/private.example/app/manifests/1", access.SecretHeader, "guess")
		b.gets(t, 401, "UNAUTHORIZED", "POST", "/v2/app/blobs/uploads/")
	}
	refused()
	if n := private.AllAsked(); len(n) != 0 {
		t.Errorf("%v was asked for nobody", n)
	}
	if got, err := b.Pull(t.Context(), "other", "1", "ns=open.example"); err != nil || got != root.Digest {
		t.Errorf("%s, %v", got, err)
	}
	knows := *b.Client
	knows.Edit = func(r *http.Request) { r.Header.Set(access.SecretHeader, secret) }
	if got, err := knows.Pull(t.Context(), "app", "1", "ns=private.example"); err != nil || got != root.Digest {
		t.Errorf("%s, %v", got, err)
	}
	refused() // now that it is in the store
	b.gets(t, 404, "", "GET", "/v2/app/manifests/"+root.Digest.String()+"?ns=open.example")
}

// A login that the proxy finds only after its start is lent to nobody either.
func TestNobodyBorrowsALoginThatComesLater(t *testing.T) {
	t.Parallel()
	private := proxytest.NewRegistry(t)
	private.RequireToken()
	file, _ := secretFile(t)
	late := &lateLogin{}
	unread := mirror("unread.example", private)
	unread.Keys = credential.File(filepath.Join(t.TempDir(), "not-there-yet"))
	up := mirror("private.example", private)
	up.Keys = late
	b := besiege(t, proxy.Config{Upstreams: []proxy.Upstream{up, unread}, Access: proxy.Access{Secret: file}})
	late.there.Store(true)
	b.gets(t, 404, "", "GET", "/v2/app/manifests/1?ns=private.example")
	b.gets(t, 401, "UNAUTHORIZED", "GET", "/v2/app/manifests/1?ns=unread.example")
	if late.asked.Load() {
		t.Error("it is looked for")
	}
}

// In the foreground there is no secret, and only who started it is served.
func TestAnotherUserIsNotServed(t *testing.T) {
	t.Parallel()
	downstream := proxytest.NewRegistry(t)
	me := uint32(os.Getuid())
	for _, peers := range [][]uint32{{me + 1}, {me}} {
		b := besiege(t, proxy.Config{
			Downstream: proxy.Remote{Host: downstream.Host, Insecure: true, Private: true}, Access: proxy.Access{Peers: peers},
		})
		if peers[0] == me {
			b.gets(t, 202, "", "POST", "/v2/app/blobs/uploads/")
			continue
		}
		for _, request := range []string{"GET /v2/", "POST /v2/app/blobs/uploads/", "GET /v2/app/manifests/1", "GET /metrics"} {
			method, path, _ := strings.Cut(request, " ")
			b.gets(t, 403, "DENIED", method, path)
		}
	}
	if n := downstream.AllAsked(); len(n) > 0 && n["GET /v2/app/manifests/1"] > 0 {
		t.Errorf("downstream was asked %v", n)
	}
}

// Header injection: nothing that a client or a registry says becomes a line of a head, or
// one of the log.
func TestNothingBecomesALineOfAHead(t *testing.T) {
	t.Parallel()
	upstream := proxytest.NewRegistry(t)
	evil := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `\r\nX-Evil: 1","manifests":[],"subject":{"mediaType":"a\r\nX-Evil: 1","digest":"sha256:a\r\nX-Evil: 1","size":1}}`
	upstream.Break(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex+"\r\nX-Evil: 1")
		w.Header().Set("Docker-Content-Digest", digest.FromString(evil).String()+"\r\nX-Evil: 1")
		_, _ = io.WriteString(w, evil)
	})
	var log pipelinetest.Journal
	b := besiege(t, proxy.Config{Upstreams: []proxy.Upstream{mirror("registry.example", upstream)}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	const crlf = "%0d%0aX-Evil:%201%0d%0a"
	for _, request := range []string{
		"GET /v2/a" + crlf + "/manifests/1", "GET /v2/a/manifests/1" + crlf, "GET /v2/a/blobs/sha256:" + crlf, "GET /v2/a/tags/list?n=1&last=" + crlf, "GET /v2/a/manifests/1?ns=a" + crlf,
		"GET /v2/a/referrers/" + digest.FromString("x").String() + "?artifactType=" + crlf, "POST /v2/a/blobs/uploads/?digest-algorithm=" + crlf, "POST /v2/a/blobs/uploads/?mount=" + crlf,
		"GET /v2/a/manifests/1?ns=registry.example", "GET /" + crlf, "GET /v2/a/manifests/1?ns=registry.example&x=" + crlf, "PATCH /v2/a/blobs/uploads/" + crlf, "GET /token?scope=" + crlf,
	} {
		method, path, _ := strings.Cut(request, " ")
		head, _, _ := strings.Cut(b.says(t, method+" "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 ") || strings.Contains(head, "\nX-Evil") || strings.HasPrefix(head, "HTTP/1.1 500") {
			t.Errorf("%s:\n%s", request, head)
		}
	}
	a, err := b.Do(t.Context(), "PUT", "/v2/a/manifests/1", []byte(evil), "Content-Type", ocispec.MediaTypeImageIndex)
	if err != nil || a.Status != 400 || a.Header.Get("X-Evil") != "" {
		t.Errorf("%d %v %s, %v", a.Status, a.Header, a.Body, err)
	}
	for _, line := range strings.Split(strings.TrimSpace(log.String()), "\n") {
		if line != "" && !strings.HasPrefix(line, "time=") {
			t.Errorf("a line of the log that is none of the proxy's: %q", line)
		}
	}
}

// byName is a registry's address with a name in place of the number.
func byName(r *proxytest.Registry) string {
	return strings.Replace(r.Host, "127.0.0.1", "localhost", 1)
}
