package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
	"github.com/occystrap/occystrap/pipeline/scheme/remote"
)

// A door asks for a token at every request to the registry behind it, and is
// the token server as well.
type door struct {
	*far
	mu sync.Mutex
	// challenge is the header, with REALM and HOST to be filled in.
	challenge string
	// answer is the token server's, with TOKEN to be filled in.
	answer string
	// uses is how many requests a token is good for; 0 is any number.
	uses     int
	user     string // "user:password" that the token server wants; "" is anybody
	issued   int
	left     map[string]int
	requests []*http.Request // for tokens
}

func newDoor(t *testing.T, h http.Handler, d *door) *door {
	t.Helper()
	d.left = map[string]int{}
	if d.challenge == "" {
		d.challenge = `Bearer realm="REALM",service="far",scope="repository:team/app:pull"`
	}
	if d.answer == "" {
		d.answer = `{"token":"TOKEN","expires_in":300}`
	}
	d.far = serve(t, h, d.guard)
	return d
}

func (d *door) guard(w http.ResponseWriter, r *http.Request) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.URL.Path == "/token" {
		d.issue(w, r)
		return true
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if left, ok := d.left[token]; ok && (d.uses == 0 || left > 0) {
		d.left[token]--
		return false
	}
	w.Header().Set("WWW-Authenticate", strings.NewReplacer("REALM", "http://"+r.Host+"/token", "HOST", r.Host).Replace(d.challenge))
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
	return true
}

func (d *door) issue(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	d.requests = append(d.requests, r.Clone(r.Context()))
	user, password, _ := r.BasicAuth()
	if d.user != "" && user+":"+password != d.user {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"details":"incorrect username or password"}`)
		return
	}
	d.issued++
	token := fmt.Sprintf("t%d", d.issued)
	d.left[token] = d.uses
	_, _ = io.WriteString(w, strings.ReplaceAll(d.answer, "TOKEN", token))
}

func (d *door) uri() string { return "registry://" + d.host() + "/team/app:1" }

var amd64 = pipeline.Platforms{Want: []ocispec.Platform{{OS: "linux", Architecture: "amd64"}}}

func onAMD64() pipeline.Options { return pipeline.Options{Query: pipeline.Query{Platforms: amd64}} }

func TestChallengeVariants(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ challenge, service, scope string }{
		"usual":              {`Bearer realm="REALM",service="far",scope="repository:team/app:pull"`, "far", "repository:team/app:pull"},
		"space":              {`Bearer realm="REALM", service="far" ,  scope = "repository:team/app:pull"`, "far", "repository:team/app:pull"},
		"case":               {`bEARER Realm="REALM",SERVICE="far"`, "far", "repository:team/app:pull"},
		"order":              {`Bearer scope="repository:team/app:pull",service="far",realm="REALM"`, "far", "repository:team/app:pull"},
		"no service":         {`Bearer realm="REALM"`, "", "repository:team/app:pull"},
		"realm with query":   {`Bearer realm="REALM?a=b",service="far"`, "far", "repository:team/app:pull"},
		"no quotes":          {`Bearer realm=REALM,service=far`, "far", "repository:team/app:pull"},
		"quoted comma":       {`Bearer error="a, b=\"c\"",realm="REALM",service="f,ar"`, "f,ar", "repository:team/app:pull"},
		"several challenges": {`Negotiate, Basic realm="x", Bearer realm="REALM",service="far"`, "far", "repository:team/app:pull"},
		"token68 before":     {`NTLM dGVzdA==, Bearer realm="REALM",service="far"`, "far", "repository:team/app:pull"},
		"scope of its own":   {`Bearer realm="REALM",service="far",scope="repository:team/app:pull,metadata aws"`, "far", "aws repository:team/app:metadata,pull"},
		"to be escaped":      {`Bearer realm="REALM",service="a b&c=d"`, "a b&c=d", "repository:team/app:pull"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := sample(t, pipeline.Gzip)
			d := newDoor(t, s, &door{challenge: test.challenge})
			if _, _, err := pull(t, quick(), d.uri(), onAMD64()); err != nil {
				t.Fatal(err)
			}
			q := d.requests[0].URL.Query()
			if q.Get("service") != test.service || strings.Join(q["scope"], " ") != test.scope {
				t.Errorf("asked for service %q and scope %q", q.Get("service"), q["scope"])
			}
			if strings.Contains(test.challenge, "a=b") && q.Get("a") != "b" {
				t.Error("the realm's own query is lost")
			}
		})
	}
}

func TestTokenAnswerVariants(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ answer, want string }{
		"token":              {`{"token":"TOKEN"}`, ""},
		"access_token":       {`{"access_token":"TOKEN","expires_in":60}`, ""},
		"both":               {`{"token":"TOKEN","access_token":"other"}`, ""},
		"none":               {`{}`, "without a token"},
		"no JSON":            {`<html>`, "no JSON"},
		"a header inside":    {`{"token":"TOKEN\r\nX-Evil: 1"}`, "without a token"},
		"one that is stale":  {`{"token":"no"}`, "401"},
		"that expires soon":  {`{"token":"TOKEN","expires_in":1}`, ""},
		"that expired since": {`{"token":"TOKEN","expires_in":-5}`, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := sample(t, pipeline.Gzip)
			d := newDoor(t, s, &door{answer: test.answer})
			_, _, err := pull(t, quick(), d.uri(), onAMD64())
			if test.want != "" {
				wantError(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoginGoesToTheTokenServer(t *testing.T) {
	t.Parallel()
	static := credential.Static("bob", "s3cret")
	tests := map[string]struct {
		keys credential.Keychain
		in   string // before the host
		opts string
	}{
		"from the keychain": {keys: static},
		"from userinfo":     {keys: credential.Static("eve", "wrong"), in: "bob:s3cret@"},
		"from options":      {keys: credential.Static("eve", "wrong"), opts: "?username=bob&password=s3cret"},
		"half from each":    {keys: static, opts: "?username=bob"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := sample(t, pipeline.Gzip)
			d := newDoor(t, s, &door{user: "bob:s3cret"})
			cfg := quick()
			cfg.Source = test.keys
			if _, _, err := pull(t, cfg, "registry://"+test.in+d.host()+"/team/app:1"+test.opts, onAMD64()); err != nil {
				t.Fatal(err)
			}
			for _, r := range d.far.requests("/v2/") {
				if strings.HasPrefix(r.Header.Get("Authorization"), "Basic") {
					t.Error("a registry that wants a token got the password")
				}
			}
		})
	}
}

func TestWrongPasswordIsToldAndTriedOnce(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	d := newDoor(t, s, &door{user: "bob:s3cret"})
	cfg := quick()
	cfg.Source = credential.Static("bob", "hunter2")
	_, _, err := pull(t, cfg, d.uri(), onAMD64())
	wantError(t, err, `the login of "bob" is refused`, "incorrect username or password", "docker login "+d.host(), "--source-creds-file")
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the error tells the password")
	}
	if len(d.requests) != 1 {
		t.Errorf("the wrong password was tried %d times", len(d.requests))
	}
}

func TestAnonymousRefusalNamesTheRemedy(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	d := newDoor(t, s, &door{user: "bob:s3cret"})
	_, _, err := pull(t, quick(), d.uri(), onAMD64())
	wantError(t, err, "401", "docker login "+d.host())
}

func TestIdentityTokenIsExchanged(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	d := newDoor(t, s, &door{})
	cfg := quick()
	cfg.Source = keys{c: credential.Credential{IdentityToken: "refresh"}}
	if _, _, err := pull(t, cfg, d.uri(), onAMD64()); err != nil {
		t.Fatal(err)
	}
	r := d.requests[0]
	want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh"}, "service": {"far"}, "scope": {"repository:team/app:pull"}, "client_id": {"occystrap"}}
	if r.Method != http.MethodPost || r.PostForm.Encode() != want.Encode() {
		t.Errorf("%s %v, want a POST of %v", r.Method, r.PostForm, want)
	}
}

// keys is a keychain with one answer.
type keys struct {
	c   credential.Credential
	err error
}

func (k keys) Lookup(context.Context, string) (credential.Credential, bool, error) {
	return k.c, k.err == nil, k.err
}

func TestBrokenStoreMattersOnlyWhenALoginIsNeeded(t *testing.T) {
	t.Parallel()
	cfg := quick()
	cfg.Source = keys{err: fmt.Errorf("docker-credential-x: %w", credential.ErrStore)}
	s, _ := sample(t, pipeline.Gzip)
	open := newDoor(t, s, &door{})
	if _, _, err := pull(t, cfg, open.uri(), onAMD64()); err != nil {
		t.Error(err)
	}
	shut := newDoor(t, s, &door{user: "bob:s3cret"})
	_, _, err := pull(t, cfg, shut.uri(), onAMD64())
	wantError(t, err, "docker-credential-x")
	cfg.Source = keys{err: errors.New("no such file")}
	_, _, err = pull(t, cfg, open.uri(), onAMD64())
	wantError(t, err, "no such file")
}

func TestTokenIsFetchedOnceForAll(t *testing.T) {
	t.Parallel()
	s, m := sample(t, pipeline.Gzip)
	d := newDoor(t, s, &door{})
	content, err := remote.OpenContent(t.Context(), quick(), d.host()+"/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := content.Fetch(t.Context(), m.Config); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if d.issued != 1 {
		t.Errorf("%d tokens were fetched for 20 requests", d.issued)
	}
}

func TestTokenIsRenewedInMidRun(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	d := newDoor(t, s, &door{uses: 1})
	o := onAMD64()
	o.Parallel = 1 // each token is good for one request: nobody else may take it
	dst, _, err := pull(t, quick(), d.uri(), o)
	if err != nil || len(dst.Published) != 1 {
		t.Fatal(err)
	}
	if d.issued < 4 {
		t.Errorf("%d tokens for 4 requests that need one each", d.issued)
	}
}

func TestBasicRegistry(t *testing.T) {
	t.Parallel()
	s, _ := sample(t, pipeline.Gzip)
	far := serve(t, s, func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "bob" && password == "s3cret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `basic Realm="far"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	cfg := quick()
	cfg.Source = credential.Static("bob", "s3cret")
	if _, _, err := pull(t, cfg, "registry://"+far.host()+"/team/app:1", onAMD64()); err != nil {
		t.Error(err)
	}
	if n := len(far.requests("GET")); n != 5 {
		t.Errorf("%d requests, want 5: one refused, then four with the login", n)
	}
	cfg.Source = credential.Static("bob", "wrong")
	_, _, err := pull(t, cfg, "registry://"+far.host()+"/team/app:1", onAMD64())
	wantError(t, err, `the login of "bob" is refused`, "docker login")
}

func TestRefusalsInCirclesEnd(t *testing.T) {
	t.Parallel()
	n := 0
	far := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			_, _ = io.WriteString(w, `{"token":"x"}`)
			return
		}
		n++
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",scope="repository:x%d:pull"`, r.Host, n))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	_, _, err := pull(t, quick(), "registry://"+far.host()+"/team/app:1", onAMD64())
	wantError(t, err, "401")
	if n > 4 {
		t.Errorf("the registry was asked %d times", n)
	}
}
