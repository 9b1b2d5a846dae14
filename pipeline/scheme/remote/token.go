package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/occystrap/occystrap/pipeline"
	"github.com/occystrap/occystrap/pipeline/credential"
)

const (
	// tokenSize bounds a token server's answer; tokens with many claims have
	// some kilobytes.
	tokenSize = 1 << 20
	// defaultTokenTime is how long a token lasts that does not say
	// (distribution, "Token Authentication Specification").
	defaultTokenTime = time.Minute
	clientID         = "occystrap"
)

// fetch gets a token for a scope from the server that the registry named.
func (a *authorizer) fetch(ctx context.Context, ch challenge, all scope) (bearer, error) {
	cred, err := a.login(ctx)
	if err != nil {
		return bearer{}, err
	}
	if cred.RegistryToken != "" {
		return bearer{"Bearer " + cred.RegistryToken.Reveal(), all, time.Now().Add(defaultTokenTime)}, nil
	}
	u, err := url.Parse(ch.params["realm"])
	if err != nil || u.Host == "" {
		return bearer{}, fmt.Errorf("%s names a token server that is no address", a.client.ref.Host)
	}
	if err := a.client.mayAsk(u, cred); err != nil {
		return bearer{}, err
	}
	var t bearer
	err = a.client.again(ctx, func() (err error) {
		t, err = a.ask(ctx, u, ch.params["service"], all, cred)
		return err
	})
	if err != nil {
		return t, fmt.Errorf("get a token from %s: %w", u.Host, err)
	}
	a.client.detail("token from %s for %s", u.Host, all)
	return t, nil
}

// ask makes one token request: by GET with the login, or by POST with an
// identity token. Redirects are not followed: they could lead the login away.
func (a *authorizer) ask(ctx context.Context, u *url.URL, service string, all scope, cred credential.Credential) (bearer, error) {
	scopes := strings.Fields(string(all))
	q := url.Values{}
	if service != "" {
		q.Set("service", service)
	}
	var req *http.Request
	var err error
	if cred.IdentityToken != "" {
		q.Set("grant_type", "refresh_token")
		q.Set("client_id", clientID)
		q.Set("scope", strings.Join(scopes, " "))
		q.Set("refresh_token", cred.IdentityToken.Reveal())
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(q.Encode()))
	} else {
		v := *u
		for _, s := range scopes {
			q.Add("scope", s)
		}
		v.RawQuery = strings.Trim(v.RawQuery+"&"+q.Encode(), "&")
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, v.String(), nil)
	}
	if err != nil {
		return bearer{}, fmt.Errorf("%s: bad address", u.Host)
	}
	switch {
	case cred.IdentityToken != "":
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	case cred.Username != "" && cred.Secret != "":
		req.SetBasicAuth(cred.Username, cred.Secret.Reveal())
	}
	return a.answer(ctx, req, all)
}

// answer sends a token request and reads the token.
func (a *authorizer) answer(ctx context.Context, req *http.Request, all scope) (bearer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dog := newWatchdog(a.client.cfg.Stall, cancel)
	defer dog.timer.Stop()
	req = req.WithContext(ctx)
	req.Header.Set("User-Agent", a.client.cfg.UserAgent)
	start := time.Now()
	resp, err := a.client.transport.RoundTrip(req)
	if err != nil {
		return bearer{}, a.client.connection(req.URL, connectionError(ctx, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		refusal := statusError(resp)
		if refusal.passes() {
			return bearer{}, refusal
		}
		return bearer{}, a.refused(refusal)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, tokenSize))
	if err != nil {
		return bearer{}, connectionError(ctx, err)
	}
	var body struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bearer{}, fmt.Errorf("%s answers no JSON", req.URL.Host)
	}
	token := body.Token
	if token == "" {
		token = body.AccessToken
	}
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return bearer{}, fmt.Errorf("%s answers without a token", req.URL.Host)
	}
	return bearer{"Bearer " + token, all, start.Add(lifetime(body.ExpiresIn))}, nil
}

// lifetime is how long a token is used: a little less than it lasts.
func lifetime(seconds int64) time.Duration {
	d := defaultTokenTime
	if seconds > 0 {
		d = time.Duration(min(seconds, 24*60*60)) * time.Second
	}
	return d - min(expiryMargin, d/4)
}

// mayAsk says whether a login may go to a token server: by HTTPS, to a host
// that belongs to the registry or that the user named. An anonymous request may
// go anywhere.
func (c *client) mayAsk(u *url.URL, cred credential.Credential) error {
	if u.Scheme != "https" && (u.Scheme != "http" || !c.cfg.Insecure && !isLoopback(u.Host)) {
		return fmt.Errorf("%s names the token server %s://%s, which is not HTTPS; ?insecure=true allows it", c.ref.Host, u.Scheme, u.Host)
	}
	if cred == (credential.Credential{}) || related(c.ref.api(), u) || slices.Contains(c.cfg.Realms, u.Host) || slices.Contains(c.cfg.Realms, u.Hostname()) {
		return nil
	}
	return pipeline.Usage("%s sends logins to the token server %s, which is not of its domain; if you trust it add ?realm=%s", c.ref.Host, u.Host, u.Hostname())
}

// related says whether a token server belongs to a registry: the same host, or
// one of the same registrable domain (auth.docker.io and registry-1.docker.io).
func related(registry string, u *url.URL) bool {
	host := (&url.URL{Host: registry}).Hostname()
	realm := u.Hostname()
	if strings.EqualFold(host, realm) || isLoopback(host) && isLoopback(realm) {
		return true
	}
	if isAddress(host) || isAddress(realm) {
		return false // "0.0.1" is not a domain
	}
	a, errA := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(host))
	b, errB := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(realm))
	return errA == nil && errB == nil && a == b
}
