package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// TokenPath is where clients get a token, with their login or as nobody. Docker and
// crane decide at /v2/ how they log in for all that follows, so that a registry which anybody may
// read and only some may write has to give tokens (distribution, "Token Authentication").
const TokenPath = "/token"

// tokenLife is how long a token is good for: longer than most uploads, and clients get
// another one when it is over.
const tokenLife = time.Hour

// A ticket is what a token says; the process signs it.
type ticket struct {
	User   string `json:"u,omitempty"`
	Secret bool   `json:"s,omitempty"`
	// Proof changes with the password, token or secret that it was given for.
	Proof []byte `json:"p,omitempty"`
	Until int64  `json:"e"`
}

// serveToken answers at TokenPath.
func (g *Guard) serveToken(w http.ResponseWriter, r *http.Request, i Identity) {
	if r.Method != http.MethodGet { // containerd tries POST first, and GET after that
		w.Header().Set("Allow", http.MethodGet)
		(&registry.Error{Code: registry.Unsupported, Message: "tokens are got by GET"}).Answer(w)
		return
	}
	t := g.issue(i)
	raw, _ := json.Marshal(map[string]any{ // strings and numbers
		"token": t, "access_token": t, "expires_in": int(tokenLife / time.Second), "issued_at": g.c.Now().UTC().Format(time.RFC3339),
	})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(raw) // a client that has gone needs no answer
}

func (g *Guard) issue(i Identity) string {
	raw, _ := json.Marshal(ticket{User: i.User, Secret: i.Secret, Proof: g.proof(i), Until: g.c.Now().Add(tokenLife).Unix()})
	body := base64.RawURLEncoding.EncodeToString(raw)
	return body + "." + base64.RawURLEncoding.EncodeToString(g.sign(body))
}

func (g *Guard) sign(parts ...string) []byte {
	m := hmac.New(sha256.New, g.key[:])
	m.Write([]byte("token\x00" + strings.Join(parts, "\x00")))
	return m.Sum(nil)
}

// proof stands for what an identity has proved, as files have it now; nil where it
// is in none of them any more.
func (g *Guard) proof(i Identity) []byte {
	if i.Secret && g.secret != nil {
		s := g.secret.get()
		return g.sign("secret", string(s[:]))
	}
	if i.User == "" {
		return nil
	}
	if g.users != nil {
		if hash := g.users.get().hash[i.User]; hash != nil {
			return g.sign("user", string(hash))
		}
	}
	if g.tokens != nil {
		var his []string // one name may have several
		for s, name := range g.tokens.get() {
			if name == i.User {
				his = append(his, string(s[:]))
			}
		}
		if slices.Sort(his); len(his) > 0 {
			return g.sign(append([]string{"bearer"}, his...)...)
		}
	}
	return nil
}

// redeem reads a token that this process has given.
func (g *Guard) redeem(token string, i *Identity) error {
	body, mac, _ := strings.Cut(token, ".")
	given, err := base64.RawURLEncoding.DecodeString(mac)
	if err != nil || !hmac.Equal(given, g.sign(body)) {
		return errLogin
	}
	raw, err := base64.RawURLEncoding.DecodeString(body)
	var t ticket
	if err != nil || json.Unmarshal(raw, &t) != nil || g.c.Now().Unix() >= t.Until {
		return errLogin
	}
	who := Identity{User: t.User, Secret: t.Secret}
	if who.Known() {
		if p := g.proof(who); p == nil || !hmac.Equal(p, t.Proof) {
			return errLogin
		}
	}
	i.User, i.Secret = t.User, t.Secret
	return nil
}
