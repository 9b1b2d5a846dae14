package access

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// maxAddress is the length of an address: a repository and a reference have 255 and 135
// at most, and a manifest comes with some tags in its query.
const maxAddress = 16 << 10

// restTime is how long a client may take for what is left of a body when it has its answer.
const restTime = 10 * time.Second

// methods are those of the distribution API.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// codeRefused is for what is no business of a registry: the specification has no code for it.
const codeRefused registry.Code = "DENIED"

// Wrap lets requests in to a handler, with the Identity of who makes them in their
// context. What it refuses the handler does not see.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
			// Where another server in between takes the length of a body by another field, what
			// follows it on the connection may be somebody else's (request smuggling). Nothing follows.
			w.Header().Set("Connection", "close")
		}
		// The server reads what is left of a body that nobody wants, as that of a request which
		// is refused: who never sends it must not hold the connection.
		defer func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(restTime)) }() // not all connections have deadlines
		i := Identity{From: addrPort(r.RemoteAddr)}
		if e := g.refuse(w, r, &i); e != nil {
			g.refused(r, i, e)
			registry.Headers(w)
			e.Answer(w)
			return
		}
		if r.URL.Path == TokenPath {
			g.serveToken(w, r, i)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, i)))
	})
}

// refuse is what is wrong with a request; nil for nothing. It finds out who i is.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, i *Identity) *registry.Error {
	here, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	switch {
	case !slices.Contains(methods, r.Method):
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE")
		return &registry.Error{Code: registry.Unsupported, Message: "this is no method of the distribution API"}
	case len(r.RequestURI) > maxAddress:
		return &registry.Error{Code: registry.NameInvalid, Status: http.StatusRequestURITooLong, Message: "the address is too long"}
	case !g.listed(r.Host, addrOf(here)):
		return &registry.Error{
			Code: codeRefused, Status: http.StatusMisdirectedRequest,
			Message: "this registry does not go by this name; call it by its address, or list the name in hosts of " + g.c.table(),
		}
	case foreign(r.Header):
		return &registry.Error{Code: codeRefused, Message: "this registry does not talk to pages in browsers"}
	}
	if e := g.checkOwner(r, i); e != nil {
		return e
	}
	if err := g.login(r, i); err != nil {
		return g.unauthorized(w, r, "", "the login, token or secret is not right")
	}
	return nil
}

// foreign says whether a page in a browser made a request. Programs that move images
// send none of these fields, and browsers let no page leave them out.
func foreign(h http.Header) bool {
	if h.Values("Origin") != nil || h.Values("Access-Control-Request-Method") != nil {
		return true
	}
	for _, site := range h.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" { // none: the user himself typed it
			return true
		}
	}
	return false
}

// checkOwner asks whose connection it is, where not everybody is let in.
func (g *Guard) checkOwner(r *http.Request, i *Identity) *registry.Error {
	if g.c.Peers == nil {
		return nil
	}
	uid, err := g.ownerOf(r.Context())
	if err != nil {
		g.c.Log.Debug("whose connection it is nobody knows", "from", i.From.String(), "error", err)
		return &registry.Error{Code: registry.Denied, Message: "the proxy serves the user who started it, and cannot tell whose connection this is; use occystrapd to serve others"}
	}
	i.UID, i.Owned = uid, true
	if !slices.Contains(g.c.Peers, uid) {
		return &registry.Error{Code: registry.Denied, Message: "the proxy serves the user who started it, and nobody else; use occystrapd to serve others"}
	}
	return nil
}

// refused tells of a request that was not let in. That clients ask first without a
// login, to learn how to log in, is nothing to tell.
func (g *Guard) refused(r *http.Request, i Identity, e *registry.Error) {
	if e.Code == registry.Unauthorized && r.Header.Get("Authorization") == "" && r.Header.Get(SecretHeader) == "" {
		g.c.Log.Debug("login demanded", "by", i, "method", r.Method, "path", r.URL.EscapedPath(), "reason", e.Message)
		return
	}
	if g.told.AllowN(g.c.Now(), 1) {
		g.c.Log.Warn("request refused", "by", i, "method", r.Method, "path", r.URL.EscapedPath(), "host", r.Host, "reason", e.Message)
	}
}

func addrPort(s string) netip.AddrPort {
	a, _ := netip.ParseAddrPort(s) // a unix socket has none
	return a
}

func addrOf(a net.Addr) netip.Addr {
	if a, ok := a.(*net.TCPAddr); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}
