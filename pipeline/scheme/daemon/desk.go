package daemon

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/moby/moby/api/pkg/authconfig"
	registrytypes "github.com/moby/moby/api/types/registry"

	"github.com/occystrap/occystrap/pipeline/registry"
)

// A desk is where a daemon of this machine talks to us as to a registry: plain
// HTTP on a literal address of the loopback, which daemons use without being
// told to. Everybody on the machine can reach it, so each errand has a login of
// its own; who has none is sent away, and nothing of his body is read.
type desk struct {
	// address is HOST:PORT as the daemon says it: other than where we listen, if
	// somebody forwards.
	address string

	server *http.Server
	served chan struct{} // closed when nothing is accepted any more
	active sync.WaitGroup

	mu     sync.Mutex
	logins map[[sha256.Size]byte]http.Handler
	closed bool
}

const (
	// loopback is spelt out: "localhost" may be ::1 to the daemon, and Podman wants a
	// certificate for names.
	loopback = "127.0.0.1:0"
	// headerTime is what a client may take to say what it wants.
	headerTime = 10 * time.Second
	// idleTime outlives the pauses of a push.
	idleTime = 2 * time.Minute
	// headerSize is far above what daemons send, in bytes.
	headerSize = 32 << 10
	// secretSize is that of a login, in bytes.
	secretSize = 32
	// deskUser is the name that goes with every secret.
	deskUser = "occystrap"
)

// openDesk listens where at says; "" is any port of the loopback.
func openDesk(ctx context.Context, at string) (*desk, error) {
	if at == "" {
		at = loopback
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", at)
	if err != nil {
		return nil, fmt.Errorf("listen for the daemon on %s: %w", at, err)
	}
	d := &desk{address: l.Addr().String(), served: make(chan struct{}), logins: map[[sha256.Size]byte]http.Handler{}}
	d.server = &http.Server{
		Handler: d, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerSize,
		ErrorLog: log.New(io.Discard, "", 0), //nolint:forbidigo // so that it logs nothing: strangers must not write to the terminal
	}
	go func() {
		defer close(d.served)
		_ = d.server.Serve(registry.Plain(l)) // ends with Close
	}()
	return d, nil
}

// forwarded says that the daemon reaches the desk at another address.
func (d *desk) forwarded(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.address = address
}

// A login opens the desk for one errand.
type login struct {
	desk   *desk
	secret string
}

// newLogin makes a login, of 256 random bits, that nobody is let in with yet.
func (d *desk) newLogin() login {
	raw := make([]byte, secretSize)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	return login{d, base64.RawURLEncoding.EncodeToString(raw)}
}

// opens lets in who has the login, to what h serves.
func (l login) opens(h http.Handler) {
	l.desk.mu.Lock()
	defer l.desk.mu.Unlock()
	l.desk.logins[sha256.Sum256([]byte(l.secret))] = h
}

// end takes the login back. Requests under way go on.
func (l login) end() {
	l.desk.mu.Lock()
	defer l.desk.mu.Unlock()
	delete(l.desk.logins, sha256.Sum256([]byte(l.secret)))
}

// auth is the login as the Engine API takes it (X-Registry-Auth).
func (l login) auth() (string, error) {
	return authconfig.Encode(registrytypes.AuthConfig{Username: deskUser, Password: l.secret, ServerAddress: l.desk.address})
}

// ServeHTTP lets in who has a login, and came for us.
func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	d.active.Add(1)
	address := d.address // strangers come before it is known, too
	d.mu.Unlock()
	defer d.active.Done()
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	if r.Host != address { // a web page that had its name resolved to the loopback
		refuse(w, http.StatusMisdirectedRequest)
		return
	}
	h := d.whose(r)
	if h == nil {
		w.Header().Set("WWW-Authenticate", `Basic realm="occystrap"`)
		refuse(w, http.StatusUnauthorized)
		return
	}
	h.ServeHTTP(w, r)
}

// refuse answers without reading what the client still sends.
func refuse(w http.ResponseWriter, status int) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // what is left of the body
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"this port belongs to a run of occystrap, which talks to one daemon"}]}`)
}

// whose finds what a request's login is for; nil for none. How long it takes
// tells nothing of the secrets: digests are compared, and all of them.
func (d *desk) whose(r *http.Request) (h http.Handler) {
	user, secret, ok := r.BasicAuth()
	if !ok || user != deskUser {
		return nil
	}
	sum := sha256.Sum256([]byte(secret))
	d.mu.Lock()
	defer d.mu.Unlock()
	for want, handler := range d.logins {
		if subtle.ConstantTimeCompare(want[:], sum[:]) == 1 {
			h = handler
		}
	}
	return h
}

// Close cuts all connections and waits until nobody is served any more. Handlers
// that wait for something else must have been ended before.
func (d *desk) Close() error {
	d.mu.Lock()
	d.closed = true
	clear(d.logins)
	d.mu.Unlock()
	err := d.server.Close()
	<-d.served
	d.active.Wait()
	return err
}
