package access

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/occystrap/occystrap/sidecar/proxy/route"
)

// A Config says who may use the proxy. The zero value serves everybody on
// loopback.
type Config struct {
	// Table is what the settings of the registry are below, for messages: "" is "proxy".
	Table string
	// Listen are the addresses that the proxy listens at.
	Listen []net.Addr
	// Hosts are names or addresses, without port, by which clients may call the proxy
	// besides those of loopback and of Listen.
	Hosts []string
	// Users is an htpasswd file with bcrypt, and Tokens one of bearer tokens. Where one of
	// them is given, nobody is served without a login. "" is none.
	Users, Tokens string
	// Secret is a file with the secret of this installation. Where it is given, who pushes,
	// deletes, or uses credentials has to know it, or log in. "" is none.
	Secret string
	// Peers are the users (uid) of this machine who are let in, by the owner of their
	// end of the connection; nil lets in all.
	Peers []uint32
	// Credentialed says whether a request would use credentials of the proxy; nil is
	// that none does.
	Credentialed func(t route.Target) bool
	// Log is told of who was refused, and of files that cannot be read; nil is nobody.
	Log *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// A Guard lets requests in. Many may use it at once.
type Guard struct {
	c      Config
	hosts  map[string]bool
	users  *watched[users]
	tokens *watched[tokens]
	secret *watched[sum]
	key    [32]byte // of this process: what it signs, nobody else can
	logins logins
	owner  func(remote, local netip.AddrPort) (uint32, error)
	told   *rate.Limiter
}

// New makes a Guard. Errors are sentences for who wrote the settings: files that
// cannot be read, or a listener that others reach and no login.
func New(c Config) (*Guard, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Credentialed == nil {
		c.Credentialed = func(route.Target) bool { return false }
	}
	// A flood of refusals must not become one of lines.
	g := &Guard{c: c, hosts: map[string]bool{}, owner: socketOwner, told: rate.NewLimiter(1, 20)}
	_, _ = rand.Read(g.key[:]) // it never fails
	g.logins.key = g.key
	if err := g.addHosts(); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(c.Listen, Beyond); i >= 0 && c.Users == "" && c.Tokens == "" {
		return nil, &openError{c.Listen[i], c.files()}
	}
	return g, errors.Join(
		open(&g.users, c, c.Users, parseUsers), open(&g.tokens, c, c.Tokens, parseTokens), open(&g.secret, c, c.Secret, parseSecret),
	)
}

// ErrOpen is the error of who listens for other machines and has nobody log in.
var ErrOpen = errors.New("other machines are let in, and nobody has to log in")

// An openError is ErrOpen with the remedy.
type openError struct {
	at    net.Addr
	files string // the table of the settings that names those who log in
}

func (e *openError) Error() string {
	return fmt.Sprintf("listening at %s lets other machines in, and nobody has to log in; give a file of users or tokens (%s), or listen at 127.0.0.1", e.at, e.files)
}

func (e *openError) Is(err error) bool { return err == ErrOpen }

// Beyond says whether others than this machine reach an address. A socket in the file
// system has a mode, which says who does.
func Beyond(a net.Addr) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return !a.IP.IsLoopback()
	case *net.UnixAddr:
		return false
	default:
		return true
	}
}

func (g *Guard) addHosts() error {
	g.hosts["localhost"] = true
	for _, a := range g.c.Listen {
		if a, ok := a.(*net.TCPAddr); ok && !a.IP.IsUnspecified() {
			g.hosts[a.AddrPort().Addr().Unmap().WithZone("").String()] = true
		}
	}
	for _, name := range g.c.Hosts {
		h, ok := hostOf(name)
		if !ok || strings.HasSuffix(name, ":") {
			return fmt.Errorf("hosts of %s has %q; it takes names or addresses, like proxy.example", g.c.table(), name)
		}
		g.hosts[h] = true
	}
	return nil
}

// table is where Hosts is in the settings, and files where Users and Tokens are.
func (c Config) table() string { return "[" + cmp.Or(c.Table, "proxy") + "]" }

func (c Config) files() string {
	if c.Table == "" {
		return "[proxy.access]"
	}
	return c.table()
}

// closed says whether nobody is served without a login.
func (g *Guard) closed() bool { return g.users != nil || g.tokens != nil }
