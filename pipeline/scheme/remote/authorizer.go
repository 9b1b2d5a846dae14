package remote

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/occystrap/occystrap/pipeline/credential"
)

// An authorizer knows how the registry wants to be told who is there. Nothing
// is sent before the registry asks; then tokens are fetched once for all who
// wait, kept per scope, and renewed before they expire or when refused.
type authorizer struct {
	client *client
	keys   credential.Keychain
	scope  scope // what this end's requests need
	// turn is held by the one who fetches a token: it is a channel so that
	// waiting ends with the context.
	turn chan struct{}

	mu     sync.Mutex
	basic  string // the Authorization header of a Basic registry
	realm  *challenge
	tokens map[scope]bearer
	failed map[scope]failure
	user   string // for messages
	store  error  // why a keychain could not be asked
}

// A bearer is a token, good until expiry for what it was asked for.
type bearer struct {
	header string
	scope  scope
	expiry time.Time
}

// A failure is a token that was refused. It is not asked for again for a while.
type failure struct {
	err   error
	until time.Time
}

// refusalTime is how long a refusal is believed: asking again and again would lock
// the account, and a server that runs for months must see that it is open again.
const refusalTime = time.Minute

// expiryMargin: a token is renewed while a request can still be made with it.
const expiryMargin = 5 * time.Second

func newAuthorizer(c *client, keys credential.Keychain, want scope) *authorizer {
	return &authorizer{
		client: c, keys: keys, scope: want, turn: make(chan struct{}, 1),
		tokens: map[scope]bearer{}, failed: map[scope]failure{}, realm: c.realm.Load(),
	}
}

// header is the Authorization header for a request; "" while the registry has
// not asked for one.
func (a *authorizer) header(ctx context.Context, want scope) (string, error) {
	a.mu.Lock()
	basic, realm, t := a.basic, a.realm, a.tokens[want]
	a.mu.Unlock()
	switch {
	case basic != "":
		return basic, nil
	case realm == nil:
		return "", nil
	case time.Now().Before(t.expiry):
		return t.header, nil
	}
	if t.scope == "" {
		t.scope = want
	}
	t, err := a.renew(ctx, want, t.scope, t.header)
	return t.header, err
}

// learn reads why a request was refused, so that the next one can do better.
// Used is the header that it was sent with.
func (a *authorizer) learn(ctx context.Context, h http.Header, want scope, used string, round int, refusal *StatusError) error {
	for _, ch := range parseChallenges(h) {
		if ch.scheme != "bearer" || ch.params["realm"] == "" {
			continue
		}
		a.mu.Lock()
		a.realm, a.basic = &ch, ""
		a.client.realm.Store(&ch)
		old := a.tokens[want]
		a.mu.Unlock()
		all := want.and(scope(ch.params["scope"]))
		if round > 0 && old.header == used && old.scope.covers(all) {
			return a.refused(refusal) // a fresh token for just this
		}
		_, err := a.renew(ctx, want, all, used)
		return err
	}
	for _, ch := range parseChallenges(h) {
		if ch.scheme == "basic" {
			return a.learnBasic(ctx, used, refusal)
		}
	}
	return a.refused(refusal)
}

// learnBasic takes user name and password, anew from the keychain: some cloud
// registries have passwords that last hours.
func (a *authorizer) learnBasic(ctx context.Context, used string, refusal *StatusError) error {
	c, err := a.login(ctx)
	if err != nil {
		return err
	}
	if c.Username == "" || c.Secret == "" {
		return a.refused(refusal)
	}
	header := basicHeader(c)
	if header == used {
		return a.refused(refusal)
	}
	a.mu.Lock()
	a.basic = header
	a.mu.Unlock()
	return nil
}

func basicHeader(c credential.Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Secret.Reveal()))
}

// renew returns a token other than the stale one, fetching it if nobody has
// meanwhile.
func (a *authorizer) renew(ctx context.Context, want, all scope, stale string) (bearer, error) {
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return bearer{}, context.Cause(ctx)
	}
	defer func() { <-a.turn }()
	a.mu.Lock()
	t, failed, realm := a.tokens[want], a.failed[all], *a.realm
	a.mu.Unlock()
	if failed.err != nil && time.Now().Before(failed.until) {
		return bearer{}, failed.err
	}
	if t.header != "" && t.header != stale && t.scope.covers(all) && time.Now().Before(t.expiry) {
		return t, nil
	}
	t, err := a.fetch(ctx, realm, all)
	a.mu.Lock()
	defer a.mu.Unlock()
	var status *StatusError
	if errors.As(err, &status) && !status.passes() {
		a.failed[all] = failure{err, time.Now().Add(refusalTime)}
	}
	if err == nil {
		a.tokens[want] = t
		delete(a.failed, all)
	}
	return t, err
}

// login asks the keychain. A store that the user did not name may fail: then
// the request is anonymous, and a refusal tells of it.
func (a *authorizer) login(ctx context.Context) (credential.Credential, error) {
	c, err := lookup(ctx, a.keys, a.client.ref.Origin())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.user, a.store = c.Username, nil
	if errors.Is(err, credential.ErrStore) {
		a.store, err = err, nil
	}
	return c, err
}

// refused is a refusal with what may explain it.
func (a *authorizer) refused(refusal *StatusError) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.store != nil:
		return fmt.Errorf("%w (no login: %w)", refusal, a.store)
	case a.user != "":
		return fmt.Errorf("the login of %q is refused: %w", a.user, refusal)
	}
	return refusal
}

// who names the user for messages.
func (a *authorizer) who() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.user == "" {
		return "an anonymous user"
	}
	return fmt.Sprintf("%q", a.user)
}
