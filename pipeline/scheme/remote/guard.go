package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// errAddress is a connection that Config.Allow refuses.
var errAddress = errors.New("its address is not public (it is of a private network, this machine, or a link), and it is not configured to have such a one")

// A guard asks Config.Allow about every connection: when its name has been resolved,
// so that a name which is resolved anew to another address (DNS rebinding) gains
// nothing, and for redirects and token servers as for registries.
type guard struct {
	allow func(host string, ip netip.Addr) bool // nil: all
	proxy func(*url.URL) (*url.URL, error)
	next  *http.Transport
	names *net.Resolver // nil: the system's
}

// A viaProxy in a request's context is the proxy that it goes by.
type viaProxy struct{}

// RoundTrip sends a request. One that goes by a proxy, which resolves the name, is
// checked by what its name tells.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.allow == nil {
		return g.next.RoundTrip(r)
	}
	by, err := g.proxy(r.URL)
	if err != nil || by == nil {
		return g.next.RoundTrip(r)
	}
	if err := g.checkName(authority(r.URL)); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // RoundTripper must
		}
		return nil, err
	}
	return g.next.RoundTrip(r.WithContext(context.WithValue(r.Context(), viaProxy{}, by)))
}

// proxyOf is what http.Transport asks.
func (g *guard) proxyOf(r *http.Request) (*url.URL, error) { return g.proxy(r.URL) }

// dial connects to an address that is allowed.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTime, KeepAlive: keepAlive, Resolver: g.names}
	if g.allow != nil && ctx.Value(viaProxy{}) == nil {
		d.ControlContext = func(_ context.Context, _, to string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(to)
			if err != nil || !g.allow(address, at.Addr().Unmap()) {
				return fmt.Errorf("%w: %s", errAddress, address)
			}
			return nil
		}
	}
	return d.DialContext(ctx, network, address)
}

// checkName checks a host that is written as an address, or is this machine by its
// name.
func (g *guard) checkName(hostport string) error {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return fmt.Errorf("%w: %s", errAddress, hostport)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		if name := strings.TrimSuffix(strings.ToLower(host), "."); name != "localhost" && !strings.HasSuffix(name, ".localhost") {
			return noNumber(name)
		}
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if !g.allow(hostport, ip.Unmap()) {
		return fmt.Errorf("%w: %s", errAddress, hostport)
	}
	return nil
}

// noNumber refuses what many resolvers take for an IPv4 address, as 2130706433 and
// 0x7f.1 are (WHATWG URL, "ends in a number"), but we do not.
func noNumber(name string) error {
	last := name[strings.LastIndexByte(name, '.')+1:]
	digits := strings.TrimPrefix(last, "0x")
	if _, err := strconv.ParseUint(last, 10, 64); err == nil || digits != last && strings.Trim(digits, "0123456789abcdef") == "" {
		return fmt.Errorf("%w: %s", errAddress, name)
	}
	return nil
}

// PublicOnly is a Config.Allow that lets every host have public addresses, and those
// that are named any: of a private network, this machine, or a link. A host stands
// with its port, or means the ports of HTTP and HTTPS.
func PublicOnly(private ...string) func(host string, ip netip.Addr) bool {
	return allowing(isPublic, private)
}

// NoLinkLocal is a Config.Allow that lets every host have any address but those of a
// link, where clouds keep the secrets of a machine (169.254.169.254); hosts that are
// named, as with PublicOnly, may have these, too.
func NoLinkLocal(linkLocal ...string) func(host string, ip netip.Addr) bool {
	return allowing(func(ip netip.Addr) bool { return !within(ip).IsLinkLocalUnicast() }, linkLocal)
}

// allowing lets every host have addresses that are usual, and those that are named any.
func allowing(usual func(netip.Addr) bool, hosts []string) func(host string, ip netip.Addr) bool {
	var named []string
	for _, host := range hosts {
		host = strings.ToLower(host)
		if canonicalHost(host) == hubHost {
			host = hubAPI
		}
		if u := (&url.URL{Host: host}); u.Port() != "" {
			named = append(named, host)
			continue
		}
		host = strings.Trim(host, "[]")
		named = append(named, net.JoinHostPort(host, "443"), net.JoinHostPort(host, "80"))
	}
	return func(host string, ip netip.Addr) bool {
		return usual(ip) || slices.Contains(named, strings.ToLower(host))
	}
}

// special are the networks that are of no use for a registry of the public internet
// (IANA's registries of special-purpose addresses), besides those that net/netip
// knows.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carriers, and virtual private networks
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),     // an IPv4 address, as it was written once
	netip.MustParsePrefix("fec0::/10"), // site-local, as it was once
	// A network translates these to IPv4 as it likes, also to its private addresses (RFC 8215).
	netip.MustParsePrefix("64:ff9b:1::/48"),
}

// Networks whose addresses hold one of IPv4, and where: it is what is reached.
var (
	translated = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour  = netip.MustParsePrefix("2002::/16")
)

func isPublic(ip netip.Addr) bool {
	ip = within(ip)
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// within is what is reached by an address: itself, or one of IPv4 that it holds.
func within(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	raw := ip.As16()
	switch {
	case translated.Contains(ip):
		return netip.AddrFrom4([4]byte(raw[12:16]))
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(raw[2:6]))
	}
	return ip
}
