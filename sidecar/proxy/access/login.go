package access

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// SecretHeader has the secret of the installation: in hosts.toml, where containerd has
// no place for a login.
const SecretHeader = "Occystrap-Secret" //nolint:gosec // a name

// maxLogin is the length of a password or token; bcrypt looks at 72 bytes.
const maxLogin = 4 << 10

var errLogin = errors.New("wrong login")

// login says who a request says that it is. Nobody is nobody; who says something wrong
// gets an error, so that "docker login" tells it.
func (g *Guard) login(r *http.Request, i *Identity) error {
	i.demanded = g.closed() || g.secret != nil
	if !i.demanded {
		return nil // whatever a client may have stored for this address
	}
	if given := r.Header.Values(SecretHeader); len(given) > 0 && g.secret != nil {
		if len(given) > 1 || !g.isSecret(given[0]) {
			return errLogin
		}
		i.Secret = true
	}
	given := r.Header.Values("Authorization")
	if len(given) == 0 {
		return nil
	}
	if len(given) > 1 || len(given[0]) > maxLogin {
		return errLogin
	}
	kind, value, _ := strings.Cut(given[0], " ")
	switch strings.ToLower(kind) {
	case "basic":
		return g.basic(r, i)
	case "bearer":
		return g.bearer(strings.TrimSpace(value), i)
	}
	return errLogin
}

func (g *Guard) basic(r *http.Request, i *Identity) error {
	user, password, ok := r.BasicAuth()
	switch {
	case !ok:
		return errLogin
	case user == "" && password == "":
		return nil // as podman says nobody
	case g.isSecret(password):
		i.Secret = true
		return nil
	case g.users != nil && g.logins.right(r.Context(), g.users.get(), user, password):
		i.User = user
		return nil
	}
	return g.bearer(password, i) // "docker login" knows no other place for a token
}

func (g *Guard) bearer(token string, i *Identity) error {
	if g.isSecret(token) {
		i.Secret = true
		return nil
	}
	if g.tokens != nil {
		// A map of digests tells by its time nothing of use about a token.
		if name := g.tokens.get()[sha256.Sum256([]byte(token))]; name != "" {
			i.User = name
			return nil
		}
	}
	return g.redeem(token, i)
}

func (g *Guard) isSecret(given string) bool {
	if g.secret == nil {
		return false
	}
	want, got := g.secret.get(), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

const (
	// maxLogins bounds the memory of logins that were right.
	maxLogins = 1 << 10
	// atOnce is how many passwords are hashed at a time: each takes a processor for a
	// tenth of a second, and strangers may ask for it.
	atOnce = 2
)

// logins remembers who was right, so that a pull of many blobs hashes one password once: by a
// keyed hash of all that the answer depends on.
type logins struct {
	key [32]byte

	mu    sync.Mutex
	known map[sum]bool
	busy  chan struct{}
}

// right says whether a password is a user's.
func (l *logins) right(ctx context.Context, u users, name, password string) bool {
	hash, there := u.hash[name]
	if !there {
		hash = u.dummy
	}
	m := hmac.New(sha256.New, l.key[:])
	for _, part := range [][]byte{hash, []byte(name), []byte(password)} {
		s := sha256.Sum256(part)
		m.Write(s[:])
	}
	id := sum(m.Sum(nil))
	l.mu.Lock()
	if l.busy == nil {
		l.busy = make(chan struct{}, atOnce)
	}
	known := l.known[id]
	l.mu.Unlock()
	if known {
		return there
	}
	select {
	case l.busy <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	err := bcrypt.CompareHashAndPassword(hash, []byte(password))
	<-l.busy
	if err != nil || !there {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= maxLogins {
		l.known = map[sum]bool{}
	}
	l.known[id] = true
	return true
}
