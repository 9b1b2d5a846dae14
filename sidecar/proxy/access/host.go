package access

import (
	"net/netip"
	"regexp"
	"strings"
)

// hostName is what a Host may be: a name or an address, and a port, which does not matter.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?$`)

// hostOf is the name in a Host field, in lower case and without a port; addresses
// in their usual form.
func hostOf(field string) (string, bool) {
	// What nearly all requests have, which costs less than the pattern.
	if a, err := netip.ParseAddrPort(field); err == nil && a.Addr().Zone() == "" {
		return a.Addr().Unmap().String(), true
	}
	if a, err := netip.ParseAddr(field); err == nil && a.Is6() { // in settings without brackets
		return a.Unmap().WithZone("").String(), true
	}
	m := hostName.FindStringSubmatch(field)
	if m == nil {
		return "", false
	}
	name := strings.ToLower(strings.Trim(m[1], "[]"))
	if a, err := netip.ParseAddr(name); err == nil {
		return a.Unmap().String(), true
	}
	return name, !strings.HasPrefix(m[1], "[")
}

// listed says whether a client may call the proxy so. A browser that was sent here under
// another name (DNS rebinding) tells that name; an address it cannot be made to
// tell, if it is not the one that it reached. here is where it arrived, with a listener
// at all addresses.
func (g *Guard) listed(field string, here netip.Addr) bool {
	name, ok := hostOf(field)
	if !ok {
		return false
	}
	if a, err := netip.ParseAddr(name); err == nil && (a.IsLoopback() || a == here.Unmap().WithZone("")) {
		return true
	}
	return g.hosts[name]
}
