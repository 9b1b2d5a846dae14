package access

import (
	"net/http"

	"github.com/occystrap/occystrap/pipeline/registry"
	"github.com/occystrap/occystrap/sidecar/proxy/route"
)

// Permit says whether who makes a request may do it to its target: for route.Switch.
// The error is the answer.
func (g *Guard) Permit(w http.ResponseWriter, r *http.Request, t route.Target) error {
	i := From(r.Context())
	switch {
	case i.Known():
		return nil
	case g.closed():
		return g.deny(w, r, t, "log in to use this registry")
	case g.secret == nil:
		return nil
	case t.Kind == route.Base:
		if r.Header.Get("Authorization") != "" { // of nobody, see Guard.login
			return nil
		}
		return g.deny(w, r, t, "log in, or get a token for reading")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return g.deny(w, r, t, "pushing and deleting takes the secret of this installation, as the password of docker login")
	case g.c.Credentialed(t):
		return g.deny(w, r, t, "this image is read with stored credentials, which takes the secret of this installation, as the password of docker login")
	}
	return nil
}

// deny refuses a request for want of a login.
func (g *Guard) deny(w http.ResponseWriter, r *http.Request, t route.Target, message string) error {
	e := g.unauthorized(w, r, t.As.Name, message)
	g.refused(r, From(r.Context()), e)
	return e
}

// Watch lets in to what tells about the proxy, and not about images (metrics, status): who has
// logged in, or is on this machine.
func (g *Guard) Watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := From(r.Context())
		if !i.Known() && !i.local() {
			e := g.unauthorized(w, r, "", "log in to see how the proxy does")
			g.refused(r, i, e)
			e.Answer(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// local says whether he is on this machine: by loopback or a unix socket, which has no
// address.
func (i Identity) local() bool { return !i.From.IsValid() || i.From.Addr().Unmap().IsLoopback() }

// unauthorized is the answer to who has to log in, and tells clients how: where everybody has
// to, the plain way. Otherwise there are tokens, which nobody in particular can get too.
func (g *Guard) unauthorized(w http.ResponseWriter, r *http.Request, repository, message string) *registry.Error {
	challenge := `Basic realm="occystrap"`
	if !g.closed() && r.URL.Path != TokenPath {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		challenge = `Bearer realm="` + scheme + `://` + r.Host + TokenPath + `",service="occystrap"` // the Host was checked
		if repository != "" {
			challenge += `,scope="repository:` + repository + `:pull,push"`
		}
	}
	w.Header().Set("Www-Authenticate", challenge)
	return &registry.Error{Code: registry.Unauthorized, Message: message}
}
