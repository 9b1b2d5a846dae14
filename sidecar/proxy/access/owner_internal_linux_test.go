package access

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
)

// Both ways to ask for an owner say the same; a connection that its client has closed has
// none, though the kernel still lists it (as root's).
func TestBothWaysToFindAnOwner(t *testing.T) {
	t.Parallel()
	for name, find := range map[string]func(remote, local netip.AddrPort) (uint32, error){"kernel": diagOwner, "proc": procOwner, "both": socketOwner} {
		for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
			l, err := net.Listen("tcp", at)
			if err != nil {
				t.Logf("%s: %v", at, err)
				continue
			}
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			served, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			remote, local := bare(served.RemoteAddr().(*net.TCPAddr)), bare(served.LocalAddr().(*net.TCPAddr))
			uid, err := find(remote, local)
			if name == "kernel" && err != nil && !errors.Is(err, errNoOwner) {
				t.Logf("the kernel does not answer here: %v", err)
			} else if err != nil || uid != uint32(os.Getuid()) {
				t.Errorf("%s %s: %d, %v", name, at, uid, err)
			}
			c.Close()
			if uid, err := find(remote, local); err == nil {
				t.Errorf("%s %s: a closed connection is of %d", name, at, uid)
			}
			served.Close()
			l.Close()
			if uid, err := find(netip.MustParseAddrPort("192.0.2.1:1"), local); err == nil {
				t.Errorf("%s: another machine's connection is of %d", name, uid)
			}
		}
	}
}
